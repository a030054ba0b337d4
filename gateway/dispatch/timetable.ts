// When schedules are due. The one file of Mayfly that knows BullMQ, whose job schedulers keep the time in Redis.
//
// One idea: a job names a schedule and a tick, and nothing else. What a schedule says is in its own record (schedule-store.ts), so that a
// job which comes twice, late, or of a schedule that is no more can be told from what it names. Whichever gateway takes the job makes the run.
//
//   schedule ── set ──▶ job scheduler ── at each tick, once over all gateways ──▶ onTick({ of, id, tickMs })

import { getNextMillis, Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { MayflyError } from "../../core/errors.ts";
import { connectRedis, connectSubscriber, onRedis } from "./redis.ts";

/** Names in Redis begin with it; in braces, as all of Mayfly's do. */
const PREFIX = "{mayfly}:timetable";
const QUEUE = "ticks";
/** Ticks that one gateway sees to at once: those of a full hour come together. */
const CONCURRENCY = 16;
/** While Redis does not take a run: tried so often, and so far apart. What is late by then was missed. */
const ATTEMPTS = 10;
const BACKOFF_MS = 3_000;
/** A tick takes milliseconds: one whose gateway, or whose Redis, died under it is had again after this, and a look or two for such. */
const LOCK_MS = 10_000;
const LOOK_MS = 5_000;
/** How often it is looked for schedules that have lost their place here. */
const REPAIR_MS = 300_000;
/** A tick under way is waited for so long when the gateway stops; another gateway has it again after that. */
const CLOSE_MS = 3_000;

export interface Tick {
  /** `TENANT NAME` of the schedule, and the id by which it is told from one of the same name before it. */
  readonly of: string;
  readonly id: string;
  readonly tickMs: number;
}

export interface When {
  readonly of: string;
  readonly id: string;
  readonly cron: string;
  readonly timezone: string;
}

export interface TimetableOptions {
  readonly redisUrl: string | undefined;
  /** Answers whether the schedule is to go on. What it throws is tried again. */
  readonly onTick: (tick: Tick) => Promise<"goes on" | "is over">;
  readonly onError: (error: Error) => void;
}

export class Timetable {
  readonly #redis: Redis;
  readonly #blocking: Redis;
  readonly #options: TimetableOptions;
  #queue: Queue | undefined;
  #worker: Worker | undefined;
  #repairs: NodeJS.Timeout | undefined;

  constructor(options: TimetableOptions) {
    this.#options = options;
    this.#redis = connectRedis(options.redisUrl);
    this.#blocking = connectSubscriber(options.redisUrl);
  }

  /** Takes ticks from now on; a Redis that is away now is waited for. `all` is asked for what should be here, whenever Redis has come back, and every five minutes. */
  start(all: () => Promise<readonly When[]>): void {
    const { onTick, onError } = this.#options;
    for (const redis of [this.#redis, this.#blocking]) redis.on("error", onError);
    const repair = () => void this.#repair(all).catch(onError);
    this.#redis.on("ready", repair);
    this.#repairs = setInterval(() => this.#redis.status === "ready" && repair(), REPAIR_MS).unref();
    this.#redis.connect().catch(() => {});
    this.#blocking.connect().catch(() => {});
    const connection = this.#blocking;
    this.#worker = new Worker(
      QUEUE,
      async ({ id = "", data }) => {
        // Of `repeat:ID:TICK`, which is what a job of a scheduler is called.
        const tick = { of: String(data.of), id: String(data.id), tickMs: Number(id.slice(id.lastIndexOf(":") + 1)) };
        if ((await onTick(tick)) === "is over") await this.#open().removeJobScheduler(tick.id);
      },
      {
        connection,
        prefix: PREFIX,
        concurrency: CONCURRENCY,
        maxStalledCount: ATTEMPTS,
        lockDuration: LOCK_MS,
        stalledInterval: LOOK_MS,
      },
    );
    this.#worker.on("error", onError);
  }

  /** Makes it due at its ticks. Safe to repeat. Errors: `queue_unavailable`. */
  async set({ of, id, cron, timezone }: When): Promise<void> {
    const opts = {
      removeOnComplete: true,
      removeOnFail: true,
      attempts: ATTEMPTS,
      backoff: { type: "fixed", delay: BACKOFF_MS },
    };
    const template = { name: "tick", data: { of, id }, opts };
    await onRedis(this.#redis, () => this.#open().upsertJobScheduler(id, { pattern: cron, tz: timezone }, template));
  }

  /** Safe to repeat. Errors: `queue_unavailable`. */
  async remove(id: string): Promise<void> {
    await onRedis(this.#redis, () => this.#open().removeJobScheduler(id));
  }

  async close(): Promise<void> {
    clearInterval(this.#repairs);
    const closing = this.#worker?.close();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_MS);
    await Promise.race([closing, over]);
    clearTimeout(timer);
    for (const redis of [this.#redis, this.#blocking]) redis.disconnect();
  }

  /** What a gateway that died between two steps, or a pause and a resume that crossed with a tick, has left out. What is there already keeps its ticks. */
  async #repair(all: () => Promise<readonly When[]>): Promise<void> {
    const queue = this.#open();
    const wanted = await all();
    if (wanted.length === 0) return;
    const there = new Set((await queue.getJobSchedulers()).map(({ key }) => key));
    for (const when of wanted) if (!there.has(when.id)) await this.set(when);
  }

  #open(): Queue {
    if (this.#queue) return this.#queue;
    this.#queue = new Queue(QUEUE, { connection: this.#redis, prefix: PREFIX });
    this.#queue.on("error", this.#options.onError);
    return this.#queue;
  }
}

/** The first moment after `afterMs` that the expression names in the time zone, ms since 1970. Throws `invalid_field` if it is none, or never comes. */
export function nextTick(cron: string, timezone: string, afterMs: number): number {
  const next = attempt(() => getNextMillis(afterMs, { pattern: cron, tz: timezone }));
  if (typeof next === "number" && Number.isFinite(next)) return next;
  throw new MayflyError("invalid_field", `cron names no moment that will ever come: ${JSON.stringify(cron)}`, {
    details: { field: "cron" },
  });
}

/** What the parser throws says no more than that it could not. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
