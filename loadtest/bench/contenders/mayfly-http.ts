// Mayfly end to end: a request to its gateway, through Redis to its worker, and back with the run's outcome. The whole local
// stack is the one of `npm start`, in the workshop.

import { join } from "node:path";
import { freePort } from "../../../infra/ports.ts";
import type { Environment } from "../../../infra/settings.ts";
import { Stack } from "../../../infra/stack.ts";
import { pacedOnce, rateOfMany } from "../pace.ts";
import { limitsOf } from "../settings.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";
import type { Contender } from "./contender.ts";
import { HttpConnection } from "./http-connection.ts";

const GATEWAY_PORT = 8_180;
const WARM_UP_RUNS = 1_000;
const WAIT = "wait=30";
const HEADERS = { "content-type": "application/json", prefer: WAIT };
const TRUE = '"outcome":{"kind":"exited","exitCode":0}';

export const openMayflyHttp = (workshop: Workshop): Promise<MayflyHttp> => openMayflyStack(workshop, { name: "stack" });

/** A stack of its own, below the directory `name` of the workshop; `env` stands over what the caller has set. */
export async function openMayflyStack(
  workshop: Workshop,
  { name, env = {} }: { readonly name: string; readonly env?: Environment },
): Promise<MayflyHttp> {
  const stack = new Stack({ env: { ...(await environmentOf(workshop, name)), ...env }, onProgress: () => {} });
  try {
    const { gateway } = await stack.start();
    return new MayflyHttp(stack, gateway);
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/** Room for 128 side by side; all else is Mayfly's default, or what the caller has set. */
async function environmentOf({ directory, driver }: Workshop, name: string): Promise<Environment> {
  return {
    ...process.env,
    MAYFLY_STATE_DIR: join(directory, name),
    MAYFLY_LISTEN_PORT: String(await freePort(GATEWAY_PORT)),
    MAYFLY_SLOTS: "1024",
    MAYFLY_CPU_OVERCOMMIT: "1024",
    MAYFLY_DRIVER: driver,
  };
}

export class MayflyHttp implements Contender {
  readonly maxParallel = 128;
  readonly #stack: Stack;
  readonly #url: URL;
  /** Connections stay open, as those of any caller who asks often. */
  readonly #idle: HttpConnection[] = [];
  #driver = "";

  constructor(stack: Stack, gateway: string) {
    this.#stack = stack;
    this.#url = new URL("/v1/runs", gateway);
  }

  /** Of its gateway. */
  get url(): URL {
    return this.#url;
  }

  get note(): string {
    return `POST /v1/runs with prefer: ${WAIT}, at the socket of a connection that is open, to the last byte of the answer, after ${WARM_UP_RUNS} runs; driver ${this.#driver || "unknown"}`;
  }

  /** The first pulls the image; the others are for V8, which compiles what a service that is up has long compiled. */
  async prepare(subject: Subject): Promise<void> {
    const request = this.#request(subject);
    for (let i = 0; i < WARM_UP_RUNS; i++) {
      const answer = await this.#run(request);
      this.#driver ||= /"driver":"(\w+)"/.exec(answer)?.[1] ?? "";
    }
  }

  start(subject: Subject, pace: { count: number; pauseMs: number }): Promise<number[]> {
    const request = this.#request(subject);
    return pacedOnce(pace, () => this.#time(request));
  }

  async load(subject: Subject, burst: { parallel: number; ms: number }): Promise<number> {
    const request = this.#request(subject);
    return rateOfMany(burst, () => this.#run(request));
  }

  async close(): Promise<void> {
    for (const connection of this.#idle) connection.close();
    await this.#stack.stop();
  }

  #request(subject: Subject): Buffer {
    return HttpConnection.request(this.#url, HEADERS, bodyOf(subject));
  }

  async #time(request: Buffer): Promise<number> {
    const start = performance.now();
    await this.#run(request);
    return performance.now() - start;
  }

  /** The answer. Rejects unless the run's program exited 0. */
  async #run(request: Buffer): Promise<string> {
    const connection = await this.#connection();
    const answer = await connection.send(request);
    if (!answer.includes(TRUE)) throw new Error(`POST /v1/runs was answered ${answer.slice(0, 500)}`);
    this.#idle.push(connection);
    return answer;
  }

  async #connection(): Promise<HttpConnection> {
    for (let kept = this.#idle.pop(); kept; kept = this.#idle.pop()) if (kept.isOpen) return kept;
    return HttpConnection.open(this.#url);
  }
}

function bodyOf(subject: Subject): string {
  const { memoryBytes, diskBytes, ...limits } = limitsOf(subject);
  const sizes = { memory: `${memoryBytes / 1024}KiB`, disk: `${diskBytes / 1024}KiB` };
  return JSON.stringify({ image: subject.reference, command: subject.argv, limits: { ...limits, ...sizes } });
}
