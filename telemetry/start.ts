// Decides at the start of a process whether anything is sent. Only then OpenTelemetry's SDK is loaded.

import type { Log } from "../core/log.ts";
import { readOtelSettings } from "./settings.ts";
import { type Identity, type Telemetry, untold } from "./telemetry.ts";

/** Throws `configuration_invalid`. Whether anybody listens where it sends is no matter: nothing ever waits for it. */
export async function startTelemetry(env: NodeJS.ProcessEnv, identity: Identity, log: Log): Promise<Telemetry> {
  const settings = readOtelSettings(env);
  if (!settings) return untold();
  const { startSdk } = await import("./otel/sdk.ts");
  log.info("telemetry.sends", settings.sends);
  return startSdk(settings, identity, log);
}
