// Everything that Mayfly needs, on this machine and below one directory: Redis, a registry, one gateway, one worker.
//
// The stack's own process is their parent. It starts them in order, waits for each to say that it is ready, and stops them in
// the reverse order; when it ends in any way, they do too.

import { resolve } from "node:path";
import { startGateway, startWorker } from "./mayfly.ts";
import { Place } from "./place.ts";
import { freePort } from "./ports.ts";
import { startRedis } from "./redis.ts";
import { startRegistry } from "./registry.ts";
import { durationMs, type Environment, refuseUnknown } from "./settings.ts";

const DEFAULT_STATE_DIR = "/var/lib/mayfly";
/** Redis' is not its usual 6379, which a Redis of the machine may want. */
const PORTS = { redis: 6390, registry: 5000, gateway: 8080 };
const STOP_MS = 10_000;
const URGENT_STOP_MS = 3_000;
/** The worker's own default, and how long it may take after that to kill what is left and to leave. */
const DRAIN = "30s";
const AFTER_DRAIN_MS = 15_000;

export interface Endpoints {
  readonly gateway: string;
  /** How an image's reference begins, such as `127.0.0.1:5000`. */
  readonly registry: string;
  readonly redisUrlFile: string;
  readonly stateDir: string;
}

/** What is told while the stack comes up: a step begins, a step is done, or something that the user should know. */
export type Progress =
  | { readonly kind: "begin"; readonly step: string }
  | { readonly kind: "done"; readonly step: string; readonly ms: number; readonly detail: string }
  | { readonly kind: "note"; readonly text: string };

export interface StackOptions {
  readonly env: Environment;
  readonly onProgress: (progress: Progress) => void;
}

export function stateDirectory(env: Environment): string {
  return resolve(env.MAYFLY_STATE_DIR ?? DEFAULT_STATE_DIR);
}

export class Stack {
  readonly #env: Environment;
  readonly #onProgress: StackOptions["onProgress"];
  #place: Promise<Place> | undefined;
  #isStopping = false;

  constructor({ env, onProgress }: StackOptions) {
    this.#env = env;
    this.#onProgress = onProgress;
  }

  /** Resolves when runs are accepted and executed. Rejects with the reason if anything fails; `stop` is still to be called. */
  async start(): Promise<Endpoints> {
    refuseUnknown(this.#env);
    if (process.getuid?.() !== 0) throw new Error("Mayfly's worker makes containers: it has to be started as root");
    const stateDir = stateDirectory(this.#env);
    this.#place = Place.open(stateDir, (text) => this.#note(text));
    const place = await this.#place;
    const [redis, registry] = await Promise.all([
      this.#step(
        "redis",
        async () => startRedis(place, await this.#port("redis")),
        ({ port }) => `127.0.0.1:${port}`,
      ),
      this.#step(
        "registry",
        async () => startRegistry(place, await this.#port("registry")),
        (address) => address,
      ),
    ]);
    const options = { redisUrlFile: redis.urlFile, env: this.#env };
    const [gateway] = await Promise.all([
      this.#step(
        "gateway",
        async () => startGateway(place, options, await this.#port("gateway")),
        (url) => url,
      ),
      this.#step(
        "worker",
        () => startWorker(place, options),
        () => "",
      ),
    ]);
    return { gateway, registry, redisUrlFile: redis.urlFile, stateDir };
  }

  /** Rejects when a process of the stack dies by itself. To be asked once the stack has started. */
  async watch(): Promise<never> {
    if (!this.#place) throw new Error("the stack has not been started");
    return (await this.#place).died();
  }

  /**
   * Stops what runs, the last started first. Safe to repeat; asked a second time while it is at it, it no longer waits for
   * what the processes have under way.
   */
  async stop(): Promise<void> {
    const isUrgent = this.#isStopping;
    this.#isStopping = true;
    // Without a place nothing was started; why there is none is told by `start`.
    const place = await this.#place?.catch(() => undefined);
    await place?.close((name) => (isUrgent ? URGENT_STOP_MS : this.#stopLimit(name)));
  }

  async #step<T>(step: string, work: () => Promise<T>, detail: (result: T) => string): Promise<T> {
    const start = performance.now();
    this.#onProgress({ kind: "begin", step });
    const result = await work();
    this.#onProgress({ kind: "done", step, ms: performance.now() - start, detail: detail(result) });
    return result;
  }

  /** The caller's port is taken as it is; the usual one gives way to whoever has it. */
  async #port(name: keyof typeof PORTS): Promise<number> {
    const asked = name === "gateway" ? this.#env.MAYFLY_LISTEN_PORT : undefined;
    if (asked !== undefined) return portOf(asked);
    const host = name === "gateway" ? this.#env.MAYFLY_LISTEN_HOST : undefined;
    const port = await freePort(PORTS[name], host);
    if (port !== PORTS[name]) this.#note(`port ${PORTS[name]} is in use: ${name} takes ${port}`);
    return port;
  }

  #stopLimit(name: string): number {
    return name === "worker" ? durationMs(this.#env.MAYFLY_DRAIN ?? DRAIN) + AFTER_DRAIN_MS : STOP_MS;
  }

  #note(text: string): void {
    this.#onProgress({ kind: "note", text });
  }
}

/** The gateway would refuse it too, but as a number that the caller has never written. */
function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Error(`MAYFLY_LISTEN_PORT=${JSON.stringify(text)} is not a port, a whole number from 0 to 65535`);
}
