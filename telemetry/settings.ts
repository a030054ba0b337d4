// The standard variables of OpenTelemetry that Mayfly reads
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). `OTEL_EXPORTER_OTLP_*` for headers, certificates,
// compression and time-outs, and `OTEL_RESOURCE_ATTRIBUTES`, are read by the SDK itself.

import { bool, type Config, count, number, oneOf, optional, readConfig, text } from "../core/config.ts";

const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
const EXPORTERS = ["otlp", "none"] as const;

export const OTEL_SETTINGS = {
  endpoint: optional(
    text(
      "OTEL_EXPORTER_OTLP_ENDPOINT",
      "Where traces and metrics are sent, such as http://127.0.0.1:4318. Without it, and without the two below, nothing is traced and the SDK is not loaded.",
    ),
  ),
  tracesEndpoint: optional(text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "Where traces are sent, in full.")),
  metricsEndpoint: optional(text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "Where metrics are sent, in full.")),
  protocol: oneOf("OTEL_EXPORTER_OTLP_PROTOCOL", "How they are sent.", ["http/json"], { fallback: "http/json" }),
  isDisabled: bool("OTEL_SDK_DISABLED", "Whether nothing is sent, whatever else is set.", { fallback: "false" }),
  traces: oneOf("OTEL_TRACES_EXPORTER", "Whether traces are sent.", EXPORTERS, { fallback: "otlp" }),
  metrics: oneOf("OTEL_METRICS_EXPORTER", "Whether metrics are sent.", EXPORTERS, { fallback: "otlp" }),
  service: optional(text("OTEL_SERVICE_NAME", "The service's name; `mayfly-gateway` and `mayfly-worker` without it.")),
  sampler: oneOf("OTEL_TRACES_SAMPLER", "Which traces are recorded.", SAMPLERS, {
    fallback: "parentbased_always_on",
  }),
  samplerRatio: number("OTEL_TRACES_SAMPLER_ARG", "The share of traces that a sampler `…ratio` records.", {
    fallback: "1",
  }),
  spanDelayMs: count("OTEL_BSP_SCHEDULE_DELAY", "Milliseconds after which spans are sent.", {
    fallback: "5000",
    min: 1,
  }),
  spanTimeoutMs: count("OTEL_BSP_EXPORT_TIMEOUT", "Milliseconds that sending a batch of spans may take.", {
    fallback: "30000",
    min: 1,
  }),
  spanQueue: count("OTEL_BSP_MAX_QUEUE_SIZE", "How many spans may wait; more are dropped.", {
    fallback: "2048",
    min: 1,
    max: 1_000_000,
  }),
  spanBatch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "How many are sent at once, at most.", {
    fallback: "512",
    min: 1,
    max: 1_000_000,
  }),
  metricIntervalMs: count("OTEL_METRIC_EXPORT_INTERVAL", "Milliseconds between two sendings of the metrics.", {
    fallback: "60000",
    min: 100,
  }),
  metricTimeoutMs: count("OTEL_METRIC_EXPORT_TIMEOUT", "Milliseconds that one may take.", {
    fallback: "30000",
    min: 1,
  }),
} as const;

export type OtelSettings = Config<typeof OTEL_SETTINGS> & { readonly sends: { traces: boolean; metrics: boolean } };

/** Undefined if nothing is to be sent. Throws `configuration_invalid`. One that is empty is one that is not set. */
export function readOtelSettings(env: NodeJS.ProcessEnv): OtelSettings | undefined {
  const ours = Object.entries(env).filter(([name, value]) => name.startsWith("OTEL_") && value !== "");
  const config = readConfig(OTEL_SETTINGS, Object.fromEntries(ours));
  const goes = (how: "otlp" | "none", own: string | undefined) =>
    !config.isDisabled && how === "otlp" && (own ?? config.endpoint) !== undefined;
  const sends = {
    traces: goes(config.traces, config.tracesEndpoint),
    metrics: goes(config.metrics, config.metricsEndpoint),
  };
  return sends.traces || sends.metrics ? { ...config, sends } : undefined;
}
