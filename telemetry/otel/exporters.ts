// The two exporters, as OpenTelemetry has them. A receiver that cannot be reached is told of once, and once more when it can be again.

import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { Log } from "../../core/log.ts";

type Done = Parameters<OTLPTraceExporter["export"]>[1];
const SUCCESS = 0;

export class SpanExporter extends OTLPTraceExporter {
  readonly #reach: Reach;

  constructor(log: Log) {
    super();
    this.#reach = new Reach("traces", log);
  }

  override export(spans: ReadableSpan[], done: Done): void {
    super.export(spans, this.#reach.noting(done));
  }
}

export class MetricExporter extends OTLPMetricExporter {
  readonly #reach: Reach;

  constructor(log: Log) {
    super();
    this.#reach = new Reach("metrics", log);
  }

  override export(metrics: ResourceMetrics, done: Done): void {
    super.export(metrics, this.#reach.noting(done));
  }
}

class Reach {
  readonly #what: string;
  readonly #log: Log;
  #isLost = false;

  constructor(what: string, log: Log) {
    this.#what = what;
    this.#log = log;
  }

  noting(done: Done): Done {
    return (result) => {
      const isLost = result.code !== SUCCESS;
      if (isLost && !this.#isLost) this.#log.warn("telemetry.unsent", { what: this.#what, error: result.error });
      if (!isLost && this.#isLost) this.#log.info("telemetry.sent_again", { what: this.#what });
      this.#isLost = isLost;
      done(result);
    };
  }
}
