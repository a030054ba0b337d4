// What a process tells of itself besides its log: spans and metrics. Metrics are always counted, and read at /metrics; both are sent
// elsewhere only if OpenTelemetry's variables say where to, and only then is its SDK loaded.

import type { Log } from "../core/log.ts";
import { Metrics } from "./metrics.ts";
import { readOtelSettings } from "./settings.ts";
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

/** Throws `configuration_invalid`. Whether anybody listens where it sends is no matter: nothing ever waits for it. */
export async function startTelemetry(env: NodeJS.ProcessEnv, identity: Identity, log: Log): Promise<Telemetry> {
  const settings = readOtelSettings(env);
  if (!settings) return untold();
  const { startSdk } = await import("./otel/sdk.ts");
  log.info("telemetry.sends", settings.sends);
  return startSdk(settings, identity, log);
}
