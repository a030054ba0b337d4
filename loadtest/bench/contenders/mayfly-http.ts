// Mayfly end to end: a request to its gateway, through Redis to its worker, and back with the run's outcome. The whole local
// stack is the one of `npm start`, in the workshop.

import { Agent, request } from "node:http";
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
const LIMIT_MS = 60_000;
const WARM_UP_RUNS = 1_000;
const WAIT = "wait=30";
const HEADERS = { "content-type": "application/json", prefer: WAIT };
const TRUE = '"outcome":{"kind":"exited","exitCode":0}';

interface FinishedRun {
  readonly outcome?: { readonly kind: string; readonly exitCode?: number };
  readonly receipt?: { readonly driver: string };
}

export async function openMayflyHttp(workshop: Workshop): Promise<Contender> {
  const stack = new Stack({ env: await environmentOf(workshop), onProgress: () => {} });
  try {
    const { gateway } = await stack.start();
    return new MayflyHttp(stack, gateway);
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/** Room for 128 side by side; all else is Mayfly's default, or what the caller has set. */
async function environmentOf({ directory, driver }: Workshop): Promise<Environment> {
  return {
    ...process.env,
    MAYFLY_STATE_DIR: join(directory, "stack"),
    MAYFLY_LISTEN_PORT: String(await freePort(GATEWAY_PORT)),
    MAYFLY_SLOTS: "1024",
    MAYFLY_CPU_OVERCOMMIT: "1024",
    MAYFLY_DRIVER: driver,
  };
}

class MayflyHttp implements Contender {
  readonly maxParallel = 128;
  readonly #stack: Stack;
  readonly #url: URL;
  /** Connections stay open, as those of any caller who asks often. */
  readonly #agent = new Agent({ keepAlive: true });
  #connection: HttpConnection | undefined;
  #driver = "";

  constructor(stack: Stack, gateway: string) {
    this.#stack = stack;
    this.#url = new URL("/v1/runs", gateway);
  }

  get note(): string {
    return `POST /v1/runs with prefer: ${WAIT}, at the socket of a connection that is open, to the last byte of the answer, after ${WARM_UP_RUNS} runs; driver ${this.#driver || "unknown"}`;
  }

  /** The first pulls the image; the others are for V8, which compiles what a service that is up has long compiled. */
  async prepare(subject: Subject): Promise<void> {
    const run = await this.#run(subject);
    this.#driver = run.receipt?.driver ?? "";
    for (let i = 0; i < WARM_UP_RUNS; i++) await this.#run(subject);
  }

  async start(subject: Subject, pace: { count: number; pauseMs: number }): Promise<number[]> {
    this.#connection ??= await HttpConnection.open(this.#url);
    const request = HttpConnection.request(this.#url, HEADERS, bodyOf(subject));
    return pacedOnce(pace, () => this.#time(request));
  }

  async load(subject: Subject, burst: { parallel: number; ms: number }): Promise<number> {
    return rateOfMany(burst, () => this.#run(subject));
  }

  async close(): Promise<void> {
    this.#connection?.close();
    this.#agent.destroy();
    await this.#stack.stop();
  }

  async #time(request: Buffer): Promise<number> {
    const start = performance.now();
    const answer = await (this.#connection as HttpConnection).send(request);
    const ms = performance.now() - start;
    if (!answer.includes(TRUE)) throw new Error(`POST /v1/runs was answered ${answer.slice(0, 500)}`);
    return ms;
  }

  /** Rejects unless the run's program exited 0. */
  async #run(subject: Subject): Promise<FinishedRun> {
    const { status, text } = await this.#post(bodyOf(subject));
    const run = status === 200 ? (JSON.parse(text) as FinishedRun) : undefined;
    if (run?.outcome?.kind !== "exited" || run.outcome.exitCode !== 0)
      throw new Error(`POST /v1/runs was answered ${status}: ${text.slice(0, 500)}`);
    return run;
  }

  #post(body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const options = { method: "POST", agent: this.#agent, headers: HEADERS, timeout: LIMIT_MS };
      const sent = request(this.#url, options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        );
      });
      sent.once("timeout", () => sent.destroy(new Error(`no answer within ${LIMIT_MS / 1000} s`)));
      sent.once("error", reject);
      sent.end(body);
    });
  }
}

function bodyOf(subject: Subject): string {
  const { memoryBytes, diskBytes, ...limits } = limitsOf(subject);
  const sizes = { memory: `${memoryBytes / 1024}KiB`, disk: `${diskBytes / 1024}KiB` };
  return JSON.stringify({ image: subject.reference, command: subject.argv, limits: { ...limits, ...sizes } });
}
