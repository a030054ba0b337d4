// The worker's side of the records in Redis: each call is one transition of core/transitions.ts.

import { Redis } from "ioredis";
import { HOST_TTL_MS, type HostRecord } from "../core/host.ts";
import { channels, keys } from "../core/keys.ts";
import { parseFlatRecord, type RunRecord } from "../core/record.ts";
import type { Outcome, Receipt, StreamFacts } from "../core/run.ts";
import { LEASE_MS, runTransition, transitionKeys, transitions } from "../core/transitions.ts";

/** One attempt of one run: who names it holds it, or is told that it does not. */
export interface Attempt {
  readonly id: string;
  readonly attempt: number;
}

export type StreamName = "stdout" | "stderr";

export interface Ended {
  readonly outcome: Outcome;
  readonly receipt: Receipt;
  readonly stdout: StreamFacts | undefined;
  readonly stderr: StreamFacts | undefined;
}

export class RunStore {
  readonly #redis: Redis;
  readonly #retentionMs: number;

  constructor(redis: Redis, retentionMs: number) {
    this.#redis = redis;
    this.#retentionMs = retentionMs;
  }

  /** The record, now held by this host; undefined if this attempt is not to be had any more. */
  async claim({ id, attempt }: Attempt, host: string): Promise<RunRecord | undefined> {
    const flat = await this.#run("claim", transitionKeys.claim(id), [id, attempt, host, LEASE_MS]);
    return parseFlatRecord(flat as string[]);
  }

  /** False if the attempt is over: then the program must not go on. */
  async started({ id, attempt }: Attempt): Promise<boolean> {
    return (await this.#run("started", transitionKeys.started(id), [id, attempt, LEASE_MS])) === 1;
  }

  async renew({ id, attempt }: Attempt): Promise<"held" | "cancel" | "lost"> {
    return (await this.#run("renew", transitionKeys.renew(id), [id, attempt, LEASE_MS])) as "held" | "cancel" | "lost";
  }

  /** Gives the attempt up unfinished: the run is moved or lost, as its record has it. */
  async release({ id, attempt }: Attempt, why: string): Promise<void> {
    await this.#run("release", transitionKeys.release(id), [id, attempt, why]);
  }

  /** False if the attempt was over already: then what is told here counts for nothing. */
  async finish({ id, attempt }: Attempt, ended: Ended): Promise<boolean> {
    const parts = [ended.outcome, ended.receipt, ended.stdout ?? NOTHING_SEEN, ended.stderr ?? NOTHING_SEEN];
    const json = parts.map((part) => JSON.stringify(part));
    return (await this.#run("finish", transitionKeys.finish(id), [id, attempt, ...json, this.#retentionMs])) === 1;
  }

  /** Adds to the kept bytes of a stream, of which there are `offset` so far, and tells who follows it. Safe to repeat. */
  async append({ id, attempt }: Attempt, stream: StreamName, offset: number, bytes: Buffer): Promise<void> {
    await this.#run("append", transitionKeys.append(id, stream), [id, attempt, offset, bytes]);
  }

  /** At most `length` bytes of the run's stdin from `offset`, and whether there can be more after what is there now. */
  async readStdin(id: string, offset: number, length: number): Promise<{ bytes: Buffer; complete: boolean }> {
    // The flag is read first: bytes are never added after it is set, so what is read after it is all there is.
    const closed = await this.#redis.hget(keys.run(id), "stdinClosed");
    const bytes = await this.#redis.getrangeBuffer(keys.stdin(id), offset, offset + length - 1);
    return { bytes, complete: closed === "1" && bytes.length < length };
  }

  /** Attempts that this host held and will not bring to an end: those of a life of the worker before this one. */
  async heldBy(host: string): Promise<Attempt[]> {
    const [seconds] = await this.#redis.time();
    // A held run is due within a lease; only such are looked at, not the whole queue.
    const ids = await this.#redis.zrangebyscore(keys.deadlines, "-inf", Number(seconds) * 1000 + LEASE_MS + 1000);
    const held = await Promise.all(ids.map((id) => this.#redis.hmget(keys.run(id), "host", "state", "attempt")));
    return ids.flatMap((id, i) => {
      const [by, state, attempt] = held[i] ?? [];
      return by === host && state !== "queued" && state !== "finished" ? [{ id, attempt: Number(attempt) }] : [];
    });
  }

  async publishHost(record: HostRecord): Promise<void> {
    await this.#redis
      .multi()
      .set(keys.host(record.id), JSON.stringify(record), "PX", HOST_TTL_MS)
      .zadd(keys.hosts, Date.parse(record.heartbeatAt), record.id)
      .exec();
  }

  async removeHost(id: string): Promise<void> {
    await this.#redis.multi().del(keys.host(id)).zrem(keys.hosts, id).exec();
  }

  #run(
    name: keyof typeof transitions,
    names: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    return runTransition(this.#redis, transitions[name], names, args);
  }
}

/** Of a run whose program was never started. */
const NOTHING_SEEN: StreamFacts = {
  bytesSeen: 0,
  bytesKept: 0,
  bytesHead: 0,
  truncated: false,
  // SHA-256 of no bytes.
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
};

/** What other processes tell this host: cancellations of its runs, and more stdin for them. */
export class Messages {
  readonly #subscriber: Redis;
  readonly #handlers = new Map<string, (message: string) => void>();

  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    subscriber.on("message", (channel: string, message: string) => this.#handlers.get(channel)?.(message));
  }

  async onCancel(host: string, handle: (runId: string) => void): Promise<void> {
    await this.#listen(channels.host(host), (message) => {
      const [verb, id] = message.split(" ");
      if (verb === "cancel" && id) handle(id);
    });
  }

  /** Returns the way to stop listening. */
  async onInput(runId: string, handle: () => void): Promise<() => Promise<void>> {
    return this.#listen(channels.input(runId), handle);
  }

  async #listen(channel: string, handle: (message: string) => void): Promise<() => Promise<void>> {
    this.#handlers.set(channel, handle);
    await this.#subscriber.subscribe(channel);
    return async () => {
      this.#handlers.delete(channel);
      await this.#subscriber.unsubscribe(channel);
    };
  }
}

/** Commands wait for Redis to come back rather than fail: what bounds the wait is each run's lease. */
export function connectRedis(url: string | undefined): Redis {
  return new Redis(url ?? "redis://127.0.0.1:6379/0", {
    maxRetriesPerRequest: null,
    lazyConnect: true,
    retryStrategy: reconnectDelay,
  });
}

/** 50 ms after the first failure, at most 1 s between tries: a restarted Redis is found before a lease is over. */
function reconnectDelay(tries: number): number {
  return Math.min(50 * tries, 1000);
}
