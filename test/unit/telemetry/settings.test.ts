import { describe, expect, it } from "vitest";
import { SILENT } from "../../../core/log.ts";
import { readOtelSettings } from "../../../telemetry/settings.ts";
import { startTelemetry } from "../../../telemetry/start.ts";
import { NO_TRACING } from "../../../telemetry/tracing.ts";

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };

describe("OpenTelemetry's variables", () => {
  it.each<[string, Record<string, string>]>([
    ["there are none", {}],
    ["the endpoint is empty", { OTEL_EXPORTER_OTLP_ENDPOINT: "" }],
    ["only other things are set", { OTEL_SERVICE_NAME: "x", OTEL_TRACES_SAMPLER: "always_on" }],
    ["the SDK is switched off", { ...ENDPOINT, OTEL_SDK_DISABLED: "true" }],
    ["neither is to be exported", { ...ENDPOINT, OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" }],
  ])("send nothing if %s", (_, env) => {
    expect(readOtelSettings(env)).toBeUndefined();
  });

  it.each<[Record<string, string>, { traces: boolean; metrics: boolean }]>([
    [ENDPOINT, { traces: true, metrics: true }],
    [
      { ...ENDPOINT, OTEL_METRICS_EXPORTER: "none" },
      { traces: true, metrics: false },
    ],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://x/v1/traces" }, { traces: true, metrics: false }],
    [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://x/v1/metrics" }, { traces: false, metrics: true }],
  ])("%j send %j", (env, sends) => {
    expect(readOtelSettings(env)?.sends).toEqual(sends);
  });

  it.each([
    ["OTEL_TRACES_SAMPLER", "sometimes"],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"],
    ["OTEL_BSP_MAX_QUEUE_SIZE", "many"],
    ["OTEL_TRACES_EXPORTER", "zipkin"],
  ])("%s=%s is refused, by its name", (variable, value) => {
    expect(() => readOtelSettings({ ...ENDPOINT, [variable]: value })).toThrow(`${variable}="${value}" is not`);
  });

  it("are no matter of Mayfly's own variables", () => {
    expect(readOtelSettings({ ...ENDPOINT, MAYFLY_LISTEN_PORT: "0" })?.service).toBeUndefined();
  });
});

it("without them nothing is traced, and what a caller sent is passed on as it came", async () => {
  const { tracing } = await startTelemetry({}, { service: "mayfly-gateway", instance: "x" }, SILENT);
  expect(tracing).toBe(NO_TRACING);
  const context = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "a=b" };
  const span = tracing.begin("x", context);
  expect(span.context).toEqual(context);
  expect(span.child("y").context).toEqual(context);
  expect(span.ids).toEqual({});
  expect(tracing.begin("x", undefined).context).toBeUndefined();
});
