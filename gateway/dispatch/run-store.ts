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
import { Artifacts } from "./artifacts.ts";
import { Kept } from "./kept.ts";
import { Lists } from "./lists.ts";
import { Orders } from "./orders.ts";
import { overdueBackoff, overdueOutcomes, readable } from "./overdue.ts";
import { onRedis } from "./redis.ts";
import { requireSecrets } from "./secret-store.ts";
import { type Submission, type SubmitLimits, submitRun } from "./submit.ts";
import { UploadPins } from "./upload-pins.ts";
import { parseWaiting, type Waiting } from "./waiting.ts";

export interface RunStoreOptions extends SubmitLimits {
  readonly redis: Redis;
  readonly retentionMs: number;
  readonly onQueuedCancelled?: () => void;
}

/** From the byte `first` to the byte `last`, or to the end; without `first`, the last `last` bytes. */
export interface Slice {
  readonly first: number | undefined;
  readonly last: number | undefined;
}

/** How much of a stream a follower is given at once: a slow one holds no more than this in memory. */
const PIECE_BYTES = 256 * 1024;
/** How many overdue runs are dealt with in one sweep. */
const OVERDUE_BATCH = 100;
/** How many runs that have become due come into line in one step. */
const DUE_BATCH = 1_000;

export class RunStore {
  readonly orders: Orders;
  readonly lists: Lists;
  readonly kept: Kept;
  readonly artifacts: Artifacts;
  readonly uploads: UploadPins;
  readonly #options: RunStoreOptions;

  constructor(options: RunStoreOptions) {
    this.#options = options;
    this.orders = new Orders(options.redis);
    this.lists = new Lists(options.redis);
    this.kept = new Kept(options.redis);
    this.artifacts = new Artifacts(options.redis);
    this.uploads = new UploadPins(options.redis);
  }

  /** See submit.ts. Throws `queue_unavailable`, too. */
  async submit(submission: Submission): Promise<string> {
    return this.uploads.submit(submission, (whole) => this.#onRedis((redis) => submitRun(redis, this.#options, whole)));
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

  /** Kept bytes of a stream, all of them without a slice, and how many there are in all, of the same moment. */
  async slice(id: string, stream: "stdout" | "stderr", slice?: Slice): Promise<{ bytes: Buffer; length: number }> {
    const { first, last } = slice ?? { first: 0, last: undefined };
    const nothing = [1, 0] as const; // To Redis -0 is 0, the first byte.
    const [from, to] = first !== undefined ? [first, last ?? -1] : last ? [-last, -1] : nothing;
    const name = keys.output(id, stream);
    const [bytes, length] = (await this.#onRedis((redis) =>
      resultsOf(redis.multi().getrangeBuffer(name, from, to).strlen(name)),
    )) as [Buffer, number];
    return { bytes, length };
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

  /** Ends a queued run; asks the host of one that is held, by force without a grace. Does nothing to one that is finished. */
  async cancel(record: RunRecord, { isForced = false } = {}): Promise<void> {
    const outcome: Outcome = { kind: "cancelled" };
    const [answer, host] = (await this.#transition("cancel", transitionKeys.cancel(record.id), [
      record.id,
      JSON.stringify(outcome),
      this.#options.retentionMs,
      isForced ? "1" : "0",
    ])) as [string, string | null];
    if (answer === "finished") this.#options.onQueuedCancelled?.();
    const verb = isForced ? "force-cancel" : "cancel";
    if (answer === "requested" && host) await this.orders.tell(host, { verb, run: record.id });
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
      record?.attempt ?? "",
      ...overdueOutcomes(record),
      plan?.retries ?? 0,
      overdueBackoff(record),
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
