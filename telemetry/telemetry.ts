// What a process tells of itself besides its log: spans and metrics. Metrics are always counted, and read at /metrics; both are sent
// elsewhere only if OpenTelemetry's variables say where to (start.ts).

import { Metrics } from "./metrics.ts";
import { NO_TRACING, type Tracing } from "./tracing.ts";

export interface Telemetry {
  readonly tracing: Tracing;
  readonly metrics: Metrics;
  /** Sends what is left, for a bounded time. Never rejects. */
  stop(): Promise<void>;
}

export interface Identity {
  readonly service: "mayfly-gateway" | "mayfly-worker";
  /** Which of them. */
  readonly instance: string;
}

export function untold(): Telemetry {
  return { tracing: NO_TRACING, metrics: new Metrics(), stop: async () => {} };
}
