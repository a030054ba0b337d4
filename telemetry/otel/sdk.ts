// OpenTelemetry's SDK, put together: spans in batches and metrics at intervals, to an OTLP receiver over HTTP. What waits to be sent is
// bounded, what is too much is dropped, and what the receiver does is nobody's concern but the log's, once.

import { setTimeout as delay } from "node:timers/promises";
import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { Log } from "../../core/log.ts";
import { VERSION } from "../../core/version.ts";
import { Metrics } from "../metrics.ts";
import type { OtelSettings } from "../settings.ts";
import type { Identity, Telemetry } from "../telemetry.ts";
import { NO_TRACING } from "../tracing.ts";
import { MetricExporter, SpanExporter } from "./exporters.ts";
import { producerOf } from "./metrics.ts";
import { samplerOf } from "./sampler.ts";
import { OtelTracing } from "./spans.ts";

/** How long a process that stops may take to send what is left. */
const STOP_MS = 2_000;

interface Provider {
  shutdown(): Promise<void>;
}

export function startSdk(settings: OtelSettings, identity: Identity, log: Log): Telemetry {
  const metrics = new Metrics();
  const resource = resourceOf(settings, identity);
  const traces = settings.sends.traces ? tracerProvider(settings, resource, log) : undefined;
  const meters = settings.sends.metrics ? meterProvider(settings, { resource, metrics, log }) : undefined;
  const providers: Provider[] = [traces, meters].filter((provider) => provider !== undefined);
  return {
    tracing: traces ? new OtelTracing(traces.getTracer("mayfly", VERSION)) : NO_TRACING,
    metrics,
    async stop() {
      const sent = Promise.allSettled(providers.map((provider) => provider.shutdown()));
      await Promise.race([sent, delay(STOP_MS, undefined, { ref: false })]);
    },
  };
}

function tracerProvider(settings: OtelSettings, resource: Resource, log: Log): TracerProvider {
  const processor = new BatchSpanProcessor({
    exporter: new SpanExporter(log),
    scheduledDelayMillis: settings.spanDelayMs,
    exportTimeoutMillis: settings.spanTimeoutMs,
    maxQueueSize: settings.spanQueue,
    maxExportBatchSize: settings.spanBatch,
  });
  return new TracerProvider({ resource, sampler: samplerOf(settings), spanProcessors: [processor] });
}

function meterProvider(
  { metricIntervalMs, metricTimeoutMs }: OtelSettings,
  { resource, metrics, log }: { resource: Resource; metrics: Metrics; log: Log },
): MeterProvider {
  const reader = new PeriodicExportingMetricReader({
    exporter: new MetricExporter(log),
    exportIntervalMillis: metricIntervalMs,
    exportTimeoutMillis: Math.min(metricTimeoutMs, metricIntervalMs), // The reader takes no other.
    metricProducers: [producerOf(metrics, resource)],
  });
  return new MeterProvider({ resource, readers: [reader] });
}

/** What the operator says of it (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) stands over what it says itself. */
function resourceOf({ service }: OtelSettings, identity: Identity): Resource {
  const own = resourceFromAttributes({
    "service.name": service ?? identity.service,
    "service.version": VERSION,
    "service.instance.id": identity.instance,
  });
  return own.merge(detectResources({ detectors: [envDetector] }));
}
