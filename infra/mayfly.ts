// Mayfly's own two processes, as the stack runs them: configured by their environment and nothing else.

import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { get } from "./http.ts";
import type { Place } from "./place.ts";
import type { Process } from "./process.ts";
import { type Environment, environmentOf, GATEWAY_VARIABLES, WORKER_VARIABLES } from "./settings.ts";

const PROJECT = join(import.meta.dirname, "..");
/** A worker first removes what a dead one left: sandboxes, mounts, control groups. */
const READY_MS = 60_000;

export interface MayflyOptions {
  readonly redisUrlFile: string;
  readonly env: Environment;
}

/** Resolves with the gateway's URL when it accepts runs. */
export async function startGateway(place: Place, { redisUrlFile, env }: MayflyOptions, port: number): Promise<string> {
  const settings = { MAYFLY_REDIS_URL_FILE: redisUrlFile, MAYFLY_LISTEN_PORT: String(port) };
  const gateway = launch(place, "gateway", environmentOf(GATEWAY_VARIABLES, env, settings));
  const { url } = await gateway.event("gateway.listening", READY_MS);
  await gateway.answers(async () => {
    const { status, body } = await get(`${url}/readyz`);
    if (status !== 200) throw new Error(`GET /readyz is answered ${status}: ${body}`);
  }, READY_MS);
  return String(url);
}

/** Resolves when the worker takes runs. */
export async function startWorker(place: Place, { redisUrlFile, env }: MayflyOptions): Promise<void> {
  const settings = {
    MAYFLY_REDIS_URL_FILE: redisUrlFile,
    MAYFLY_STATE_DIR: place.directory("worker"),
    MAYFLY_HOST_ID: env.MAYFLY_HOST_ID ?? hostId(place.path),
  };
  const worker = launch(place, "worker", environmentOf(WORKER_VARIABLES, env, settings));
  await worker.event("worker.ready", READY_MS);
}

function launch(place: Place, name: "gateway" | "worker", env: Record<string, string>): Process {
  return place.launch(name, [process.execPath, join(PROJECT, name, "main.ts")], env);
}

/** Two stacks on one machine are two hosts: each removes control groups of its own host that nobody owns. */
function hostId(stateDir: string): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9]+/g, "-")
    .replace(/^-/, "")
    .slice(0, 40);
  return `${name || "host"}-${createHash("sha256").update(stateDir).digest("hex").slice(0, 8)}`;
}
