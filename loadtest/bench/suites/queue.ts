// queue: one call at a time from enqueue to reply, through bare BullMQ and through all of Mayfly but HTTP and the container.
// Each has a worker process of its own; both have the same Redis and the same client process.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../infra/ports.ts";
import { startRedis } from "../../../infra/redis.ts";
import { environmentOf } from "../../../infra/settings.ts";
import { withLimit } from "../../../infra/wait.ts";
import { pacedOnce } from "../pace.ts";
import { openBareBullmq } from "../queue/bare-bullmq.ts";
import { openMayflyQueue } from "../queue/mayfly-client.ts";
import { QUEUES, type QueueClient, type QueueName } from "../queue/queue-client.ts";
import { suiteReport } from "../report.ts";
import { absent, interleave, type Lane, type Measured, reasonOf } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const REDIS_PORT = 6_490;
const READY_MS = 30_000;
/** The worker is idle again, and has told its room: a call that comes while it still tidies up finds it busy. */
const PAUSE_MS = 5;
const SETTLE_MS = 50;
const FULL = { rounds: 20, count: 50 };
const QUICK = { rounds: 2, count: 10 };

const OPEN: Readonly<Record<QueueName, (url: string) => Promise<QueueClient>>> = {
  bullmq: openBareBullmq,
  "mayfly-queue": openMayflyQueue,
};

const NOTES: Readonly<Record<QueueName, string>> = {
  bullmq: "Queue.add to a message on a channel, published by a handler that does nothing else; no record, no lease",
  "mayfly-queue":
    "the gateway's dispatcher to its answer: record and hand-over, the worker's executor with leases and output, over a runtime whose sandboxes end at once; no HTTP, no container",
};

export const queue: Suite = async ({ workshop, isQuick, say }) => {
  const { rounds, count } = isQuick ? QUICK : FULL;
  const { urlFile } = await startRedis(workshop.place, await freePort(REDIS_PORT));
  const opened: Side[] = [];
  const missing: Measured[] = [];
  try {
    for (const name of QUEUES) {
      try {
        opened.push(await Side.open(name, urlFile));
      } catch (error) {
        missing.push(absent(name, "ms", reasonOf(error)));
      }
    }
    const measured = await interleave(
      opened.map((side) => side.lane(count)),
      { rounds, settleMs: SETTLE_MS },
      say,
    );
    return suiteReport([...measured, ...missing], ["mayfly-queue/bullmq"]);
  } finally {
    for (const side of opened) await side.close();
  }
};

/** A worker's process and a client. */
class Side {
  readonly #name: QueueName;
  readonly #worker: ChildProcess;
  readonly #client: QueueClient;

  private constructor(name: QueueName, worker: ChildProcess, client: QueueClient) {
    this.#name = name;
    this.#worker = worker;
    this.#client = client;
  }

  static async open(name: QueueName, urlFile: string): Promise<Side> {
    const worker = fork(join(import.meta.dirname, "../queue/worker-process.ts"), [name, urlFile], {
      env: environmentOf([], process.env, {}),
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const died = once(worker, "exit").then(() => Promise.reject(new Error(`the worker of ${name} ended`)));
    died.catch(() => {}); // Later it is asked to.
    const ready = Promise.race([once(worker, "message"), died]);
    try {
      await withLimit(ready, READY_MS, () => new Error(`the worker of ${name} is not ready`));
      const side = new Side(name, worker, await OPEN[name](readFileSync(urlFile, "utf8").trim()));
      await side.#client.call(); // The first loads scripts and makes connections.
      return side;
    } catch (error) {
      worker.kill("SIGKILL");
      throw error;
    }
  }

  lane(count: number): Lane {
    return {
      name: this.#name,
      unit: "ms",
      note: () => NOTES[this.#name],
      measure: () => pacedOnce({ count, pauseMs: PAUSE_MS }, () => this.#time()),
    };
  }

  /** The worker ends when its channel to us does. */
  async close(): Promise<void> {
    await this.#client.close().catch(() => {}); // Its connections go with the process, and Redis with the workshop.
    if (this.#worker.connected) this.#worker.disconnect();
  }

  async #time(): Promise<number> {
    const start = performance.now();
    await this.#client.call();
    return performance.now() - start;
  }
}
