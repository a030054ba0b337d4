// The worker's side of the records in Redis: each call is one transition of core/transitions.ts.

import { Redis } from "ioredis";
import { type HostOrder, parseOrder, TerminalSize } from "../core/control.ts";
import { MayflyError } from "../core/errors.ts";
import { type RunFile, RunFiles } from "../core/files.ts";
import { HOST_TTL_MS, type HostRecord, HostRecord as HostRecordSchema } from "../core/host.ts";
import { channels, keys, transitionKeys } from "../core/keys.ts";
import { LEASE_MS, type Room } from "../core/offer.ts";
import { parseFlatRecord, type RunRecord } from "../core/record.ts";
import type { Outcome, Pulling, Receipt, StreamFacts } from "../core/run.ts";
import { runTransition, transitions } from "../core/transitions.ts";
import { ArtifactStore } from "./artifact-store.ts";

/** One attempt of one run: who names it holds it, or is told that it does not. */
export interface Attempt {
  readonly id: string;
  readonly attempt: number;
}

/** What a holder is told when it renews its hold. */
export type Held = "held" | "cancel" | "force-cancel" | "lost";

export type StreamName = "stdout" | "stderr";

export interface Ended {
  readonly outcome: Outcome;
  readonly receipt: Receipt;
  /** Whether its program had started. */
  readonly ran: boolean;
  readonly stdout: StreamFacts | undefined;
  readonly stderr: StreamFacts | undefined;
  /** If the run is to be tried again: after how many ms, and how long it may wait for a host then. */
  readonly again?: { readonly backoffMs: number; readonly queueMs: number } | undefined;
}

export class RunStore {
  readonly #redis: Redis;
  readonly #retentionMs: number;
  readonly #holder: string;

  /** `holder` names this life of this worker; what another life holds is not ours. */
  constructor(redis: Redis, retentionMs: number, holder: string) {
    this.#redis = redis;
    this.#retentionMs = retentionMs;
    this.#holder = holder;
  }

  /** The record of a run that was given to this life of this worker; undefined if it is not its, or its program has started. */
  async recall({ id, attempt }: Attempt): Promise<RunRecord | undefined> {
    return parseFlatRecord(
      (await this.#run("recall", transitionKeys.recall(id), [id, attempt, this.#holder])) as string[],
    );
  }

  /**
   * Offers room to runs that wait, and to those that come. Answers how many were given in this series, also of those that are on
   * their way here, and how many still wait.
   */
  async offer(pool: string, { offer, heard }: Room): Promise<{ given: number; waiting: number }> {
    const args = [this.#holder, JSON.stringify(offer), heard.series, heard.seen, pool];
    const [given, waiting] = (await this.#run("offer", transitionKeys.offer(pool), args)) as [number, number];
    return { given, waiting };
  }

  /** Offers nothing more. Answers how many runs were given in this series. */
  async withdraw(pool: string, series: number): Promise<number> {
    return Number(await this.#run("withdraw", transitionKeys.withdraw(pool), [this.#holder, series]));
  }

  /** For whoever looks at a run that starts. An attempt that is over tells nothing, and learns of it by its lease. */
  async pulling({ id, attempt }: Attempt, pulling: Pulling): Promise<void> {
    await this.#run("pulling", transitionKeys.pulling(id), [id, attempt, this.#holder, JSON.stringify(pulling)]);
  }

  /** False if the attempt is over: then the program must not go on. */
  async started({ id, attempt }: Attempt): Promise<boolean> {
    return (await this.#run("started", transitionKeys.started(id), [id, attempt, this.#holder, LEASE_MS])) === 1;
  }

  async renew({ id, attempt }: Attempt): Promise<Held> {
    const answer = await this.#run("renew", transitionKeys.renew(id), [id, attempt, this.#holder, LEASE_MS]);
    return answer as Held;
  }

  /** Gives the attempt up unfinished: the run is moved or lost, as its record has it. Only once nothing of it runs here. */
  async release({ id, attempt }: Attempt, why: string, holder = this.#holder): Promise<void> {
    await this.#run("release", transitionKeys.release(id), [id, attempt, holder, why]);
  }

  /** False if the attempt was over already: then what is told here counts for nothing. */
  async finish({ id, attempt }: Attempt, ended: Ended): Promise<boolean> {
    const { outcome, receipt, ran, again } = ended;
    const facts = [id, attempt, this.#holder, JSON.stringify(outcome), JSON.stringify(receipt), ran ? "1" : ""];
    if (again) {
      const answer = await this.#run("again", transitionKeys.again(id), [...facts, again.backoffMs, again.queueMs]);
      if (answer !== TO_BE_FINISHED) return answer === 1;
    }
    const streams = [ended.stdout, ended.stderr].map((stream) => (stream?.bytesSeen ? JSON.stringify(stream) : ""));
    const args = [...facts, ...streams, this.#retentionMs];
    return (await this.#run("finish", transitionKeys.finish(id), args)) === 1;
  }

  /**
   * Adds to the kept bytes of a stream, of which there are `offset` so far, and tells who follows it. Safe to repeat.
   * An attempt that is over stores nothing, and learns of it by its lease. Throws if stored bytes have gone missing.
   */
  async append({ id, attempt }: Attempt, stream: StreamName, offset: number, bytes: Buffer): Promise<void> {
    const args = [id, attempt, this.#holder, offset, bytes];
    if ((await this.#run("append", transitionKeys.append(id, stream), args)) !== -1) return;
    throw new MayflyError("host_unavailable", `Redis has lost bytes of ${stream} that it had stored`);
  }

  /** Where an attempt's artifacts are kept. */
  artifacts({ id, attempt }: Attempt): ArtifactStore {
    return new ArtifactStore(this.#redis, { id, attempt }, this.#holder);
  }

  /** At most `length` bytes of the run's stdin from `offset`, and whether there can be more after what is there now. */
  async readStdin(id: string, offset: number, length: number): Promise<{ bytes: Buffer; complete: boolean }> {
    // The flag is read first: bytes are never added after it is set, so what is read after it is all there is. Redis answers one
    // connection in order, so that the bytes need not wait for the flag: somebody may wait for each key that is typed.
    const [closed, bytes] = await Promise.all([
      this.#redis.hget(keys.run(id), "stdinClosed"),
      this.#redis.getrangeBuffer(keys.stdin(id), offset, offset + length - 1),
    ]);
    return { bytes, complete: closed === "1" && bytes.length < length };
  }

  /** What the run brings along; nothing once it is over. */
  async files(id: string): Promise<RunFile[]> {
    const text = await this.#redis.get(keys.files(id));
    return text === null ? [] : RunFiles.parse(JSON.parse(text));
  }

  /** How many entries and pieces an upload has, if it is there and this tenant's. */
  async upload(id: string, tenant: string): Promise<{ entries: number; pieces: number } | undefined> {
    const [[owner, entries], pieces] = await Promise.all([
      this.#redis.hmget(keys.upload(id), "tenant", "entries"),
      this.#redis.llen(keys.uploadPieces(id)),
    ]);
    return owner === tenant && entries ? { entries: Number(entries), pieces } : undefined;
  }

  async uploadPiece(id: string, index: number): Promise<Buffer | undefined> {
    return (await this.#redis.lindexBuffer(keys.uploadPieces(id), index)) ?? undefined;
  }

  /** A secret by its owner and name, as it is kept. */
  async sealed(of: string): Promise<string | undefined> {
    return (await this.#redis.hget(keys.sealed(of), "sealed")) ?? undefined;
  }

  /** The size that the run's terminal was given since it was asked for, if there is one that can be read. */
  async terminalSize(id: string): Promise<TerminalSize | undefined> {
    const text = await this.#redis.hget(keys.run(id), "terminalSize");
    return text === null ? undefined : TerminalSize.safeParse(JSON.parse(text)).data;
  }

  /** Attempts that this host held and will not bring to an end: those of a life of the worker before this one. */
  async heldBy(host: string): Promise<(Attempt & { readonly holder: string })[]> {
    const [seconds] = await this.#redis.time();
    // A held run is due within a lease; only such are looked at, not the whole queue.
    const ids = await this.#redis.zrangebyscore(keys.deadlines, "-inf", Number(seconds) * 1000 + LEASE_MS + 1000);
    const fields = await Promise.all(
      ids.map((id) => this.#redis.hmget(keys.run(id), "host", "state", "attempt", "holder")),
    );
    return ids.flatMap((id, i) => {
      const [by, state, attempt, holder] = fields[i] ?? [];
      if (by !== host || !holder || (state !== "starting" && state !== "running")) return [];
      return [{ id, attempt: Number(attempt), holder }];
    });
  }

  /** What some worker tells of the host of this name, if it has done so lately. */
  async hostRecord(id: string): Promise<HostRecord | undefined> {
    const text = await this.#redis.get(keys.host(id));
    return text === null ? undefined : HostRecordSchema.safeParse(JSON.parse(text)).data;
  }

  async publishHost(record: HostRecord): Promise<void> {
    await this.#redis
      .multi()
      .set(keys.host(record.id), JSON.stringify(record), "PX", HOST_TTL_MS)
      .zadd(keys.hosts, Date.parse(record.heartbeatAt), record.id)
      // Hosts that were killed take no leave; an hour after their last beat nobody looks for them any more.
      .zremrangebyscore(keys.hosts, "-inf", Date.parse(record.heartbeatAt) - FORGET_HOST_MS)
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

const FORGET_HOST_MS = 3_600_000;
/** Answered to who would have a run tried again that is to be cancelled. */
const TO_BE_FINISHED = 2;

/** What other processes tell this host: orders about its runs, and that there is more stdin for them. */
export class Messages {
  readonly #subscriber: Redis;
  readonly #handlers = new Map<string, (message: string) => void>();

  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    subscriber.on("message", (channel: string, message: string) => this.#handlers.get(channel)?.(message));
    // What was said while the connection was away is not said again: whoever has something to look up, looks.
    subscriber.on("ready", () => this.#handlers.forEach((handle) => void handle("")));
  }

  /** Words that are no order are passed over. `missed`: some may have been lost with the connection. */
  async onOrder(host: string, obey: (order: HostOrder) => void, missed: () => void): Promise<void> {
    await this.#listen(channels.host(host), (message) => {
      if (message === "") return missed();
      const order = parseOrder(message);
      if (order) obey(order);
    });
  }

  /** Runs that are given to this life of the worker. `missed`: some may have been lost with the connection. */
  async onHanded(holder: string, take: (message: string) => void, missed: () => void): Promise<void> {
    await this.#listen(channels.handed(holder), (message) => (message === "" ? missed() : take(message)));
  }

  /** Runs have come to wait in a pool where none did, or may have while the connection was away. */
  async onWaiting(pool: string, handle: () => void): Promise<void> {
    await this.#listen(channels.waits(pool), handle);
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

/** For what can be done without: commands fail at once while Redis is away, and after `commandTimeout` ms if it is slow. */
export function connectOptional(redis: Redis): Redis {
  return redis.duplicate({ enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: 2_000 });
}

/** 50 ms after the first failure, at most 1 s between tries: a restarted Redis is found before a lease is over. */
function reconnectDelay(tries: number): number {
  return Math.min(50 * tries, 1000);
}
