// The gateway's side of the records in Redis: accepted, read, listed, cancelled, found overdue.

import type { ChainableCommander, Redis } from "ioredis";
import { MayflyError } from "../../core/errors.ts";
import { type HostRecord, HostRecord as HostRecordSchema } from "../../core/host.ts";
import { keys, transitionKeys } from "../../core/keys.ts";
import { planRun } from "../../core/plan.ts";
import { parseRecord, type RunRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Outcome } from "../../core/run.ts";
import { runTransition, transitions } from "../../core/transitions.ts";
import { Orders } from "./orders.ts";
import { overdueOutcomes, readable } from "./overdue.ts";
import { onRedis } from "./redis.ts";
import { requireSecrets } from "./secret-store.ts";
import { type Submission, type SubmitLimits, submitRun } from "./submit.ts";
import { parseWaiting, type Waiting } from "./waiting.ts";

export interface RunStoreOptions extends SubmitLimits {
  readonly redis: Redis;
  readonly retentionMs: number;
  readonly onQueuedCancelled?: () => void;
}

/** How many records are read for one page of a list that is filtered; the page may then be short, with a cursor to go on. */
const MAX_SCANNED = 1_000;
/** How much of a stream a follower is given at once: a slow one holds no more than this in memory. */
const PIECE_BYTES = 256 * 1024;
/** How many overdue runs are dealt with in one sweep. */
const OVERDUE_BATCH = 100;
/** How many runs that have become due come into line in one step. */
const DUE_BATCH = 1_000;

export class RunStore {
  readonly orders: Orders;
  readonly #options: RunStoreOptions;

  constructor(options: RunStoreOptions) {
    this.#options = options;
    this.orders = new Orders(options.redis);
  }

  /** See submit.ts. Throws `queue_unavailable`, too. */
  async submit(submission: Submission): Promise<string> {
    return this.#onRedis((redis) => submitRun(redis, this.#options, submission));
  }

  /** See secret-store.ts. */
  requireSecrets(tenant: string, secretEnv: RunRequest["secretEnv"]): Promise<void> {
    return requireSecrets(this.#options.redis, tenant, secretEnv);
  }

  /** Undefined if there is none, or it is another tenant's: nobody learns that a foreign run exists. */
  async get(id: string, tenant: string): Promise<RunRecord | undefined> {
    const record = await this.#onRedis(async (redis) => parseRecord(await redis.hgetall(keys.run(id))));
    return record?.tenant === tenant ? record : undefined;
  }

  /** A finished run's record and its whole output, of one moment and in one round trip. Undefined as with `get`. */
  async whole(id: string, tenant: string): Promise<{ record: RunRecord; stdout: Buffer; stderr: Buffer } | undefined> {
    const [hash, stdout, stderr] = (await this.#onRedis((redis) =>
      resultsOf(
        redis
          .multi()
          .hgetall(keys.run(id))
          .getrangeBuffer(keys.output(id, "stdout"), 0, -1)
          .getrangeBuffer(keys.output(id, "stderr"), 0, -1),
      ),
    )) as [Record<string, string>, Buffer, Buffer];
    const record = parseRecord(hash);
    return record?.tenant === tenant ? { record, stdout, stderr } : undefined;
  }

  /** Kept bytes of a stream from an offset to the end of what is there. */
  async output(id: string, stream: "stdout" | "stderr", offset = 0): Promise<Buffer> {
    return this.#onRedis((redis) => redis.getrangeBuffer(keys.output(id, stream), offset, -1));
  }

  /**
   * The record, and what was kept of each stream from an offset on: of one moment, so that a finished record's output is
   * whole and no other attempt's bytes are among it. A piece at a time: `more` says that there is more already.
   */
  async snapshot(
    id: string,
    tenant: string,
    from: { readonly stdout: number; readonly stderr: number },
  ): Promise<{ record: RunRecord; stdout: Buffer; stderr: Buffer; more: boolean } | undefined> {
    const piece = (stream: "stdout" | "stderr") =>
      [keys.output(id, stream), from[stream], from[stream] + PIECE_BYTES - 1] as const;
    const [hash, stdout, stderr] = (await this.#onRedis((redis) =>
      resultsOf(
        redis
          .multi()
          .hgetall(keys.run(id))
          .getrangeBuffer(...piece("stdout"))
          .getrangeBuffer(...piece("stderr")),
      ),
    )) as [Record<string, string>, Buffer, Buffer];
    const record = parseRecord(hash);
    if (record?.tenant !== tenant) return undefined;
    return { record, stdout, stderr, more: stdout.length === PIECE_BYTES || stderr.length === PIECE_BYTES };
  }

  /** Newest first, from before `cursor`. `next` is there if there may be more. */
  async list(
    tenant: string,
    options: { limit: number; state?: string | undefined; cursor?: string | undefined },
  ): Promise<{ records: RunRecord[]; next: string | undefined }> {
    const records: RunRecord[] = [];
    let cursor = options.cursor;
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const ids = await this.#page(tenant, cursor, options.limit);
      const page = await this.#records(tenant, ids);
      for (const record of page) {
        if (options.state && record.state !== options.state) continue;
        records.push(record);
        if (records.length === options.limit) return { records, next: record.id };
      }
      if (ids.length < options.limit) return { records, next: undefined };
      cursor = ids.at(-1);
      scanned += ids.length;
    }
    return { records, next: cursor };
  }

  async #page(tenant: string, cursor: string | undefined, limit: number): Promise<string[]> {
    return this.#onRedis((redis) =>
      redis.zrevrangebylex(keys.index(tenant), cursor ? `(${cursor}` : "+", "-", "LIMIT", 0, limit),
    );
  }

  /** Records whose retention is over are gone; their ids are then taken out of the list. */
  async #records(tenant: string, ids: readonly string[]): Promise<RunRecord[]> {
    const hashes = await this.#onRedis((redis) => Promise.all(ids.map((id) => redis.hgetall(keys.run(id)))));
    const records = hashes.map(parseRecord);
    const gone = ids.filter((_, i) => records[i] === undefined);
    if (gone.length > 0) await this.#onRedis((redis) => redis.zrem(keys.index(tenant), ...gone));
    return records.filter((record) => record !== undefined);
  }

  /** Ends a queued run; asks the host of one that is held. Does nothing to one that is finished. */
  async cancel(record: RunRecord): Promise<void> {
    const outcome: Outcome = { kind: "cancelled" };
    const [answer, host] = (await this.#transition("cancel", transitionKeys.cancel(record.id), [
      record.id,
      JSON.stringify(outcome),
      this.#options.retentionMs,
    ])) as [string, string | null];
    if (answer === "finished") this.#options.onQueuedCancelled?.();
    if (answer === "requested" && host) await this.orders.tell(host, { verb: "cancel", run: record.id });
  }

  /** Adds to the stdin of a run that was made for it. Throws `stdin_closed`, `body_too_large`. */
  async feed(id: string, bytes: Buffer, close: boolean): Promise<void> {
    const max = this.#options.maxStdinBytes;
    const answer = await this.#transition("feed", transitionKeys.feed(id), [id, bytes, close ? "1" : "0", max]);
    if (answer === -1) throw new MayflyError("stdin_closed", "the run takes no more input");
    if (answer === -2)
      throw new MayflyError("body_too_large", `stdin is more than ${max} bytes in all`, { details: { limit: max } });
  }

  /** True if the run is unfinished and this gateway will be told when that changes. */
  async watch(id: string, waiter: string): Promise<boolean> {
    return (await this.#transition("watch", transitionKeys.watch(id), [id, waiter])) === 1;
  }

  /** Ids of runs whose state has lasted too long. */
  async overdue(): Promise<string[]> {
    return this.#onRedis(async (redis) => {
      const [seconds] = await redis.time();
      return redis.zrangebyscore(keys.deadlines, "-inf", Number(seconds) * 1000, "LIMIT", 0, OVERDUE_BATCH);
    });
  }

  /** Finishes an overdue run or queues its next attempt, as its record has it. Answers what was done. */
  async settleOverdue(id: string): Promise<"not yet" | "finished" | "requeued"> {
    const record = readable(await this.#onRedis((redis) => redis.hgetall(keys.run(id))));
    const plan = record && planRun(record.request);
    const [answer] = (await this.#transition("overdue", transitionKeys.overdue(id), [
      id,
      ...overdueOutcomes(record),
      plan?.retries ?? 0,
      plan?.timeouts.queueMs ?? 0,
      this.#options.retentionMs,
    ])) as ["not yet" | "finished" | "requeued"];
    return answer;
  }

  /** Why a run waits, if it does. */
  async why({ id, request }: RunRecord): Promise<Waiting | undefined> {
    const { pool } = planRun(request);
    return parseWaiting((await this.#transition("why", transitionKeys.why(id, pool), [id])) as (string | number)[]);
  }

  /** Sees to what waits in a pool and nobody else has seen to. Answers in how many ms the next run is due, if there is one. */
  async tend(pool: string): Promise<number | undefined> {
    const dueMs = Number(await this.#transition("tend", transitionKeys.tend(pool), [pool, DUE_BATCH]));
    return dueMs < 0 ? undefined : dueMs;
  }

  async hosts(): Promise<HostRecord[]> {
    return this.#onRedis(async (redis) => {
      const ids = await redis.zrange(keys.hosts, "0", "-1");
      const texts = ids.length === 0 ? [] : await redis.mget(...ids.map(keys.host));
      const records = texts.map((text) =>
        text === null ? undefined : HostRecordSchema.safeParse(JSON.parse(text)).data,
      );
      // A record of a version that is not understood here is no reason to say nothing of the others.
      return records.filter((record) => record !== undefined);
    });
  }

  #transition(
    name: keyof typeof transitions,
    names: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    return this.#onRedis((redis) => runTransition(redis, transitions[name], names, args));
  }

  #onRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    return onRedis(this.#options.redis, () => work(this.#options.redis));
  }
}

async function resultsOf(transaction: ChainableCommander): Promise<unknown[]> {
  const results = (await transaction.exec()) ?? [];
  return results.map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}
