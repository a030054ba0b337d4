// A worker without containers, for tests of the queue: the real offers, ledger and run store, and a script in the test
// that says what an attempt does.
//
//   const worker = await startFakeWorker({ redisUrl, behave: async (attempt) => {
//     await attempt.started();
//     await attempt.write("stdout", "hello\n");
//     await attempt.exit(0);
//   } });

import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { HostOrder } from "../../core/control.ts";
import type { Capacity, HostRecord } from "../../core/host.ts";
import { newIncarnation } from "../../core/ids.ts";
import { type Log, SILENT } from "../../core/log.ts";
import type { RunRecord } from "../../core/record.ts";
import { backoffMs } from "../../core/retry.ts";
import type { Outcome, StreamFacts } from "../../core/run.ts";
import { VERSION } from "../../core/version.ts";
import { Ledger } from "../../worker/admission.ts";
import { Duty } from "../../worker/duty.ts";
import { Heartbeat } from "../../worker/host-record.ts";
import { Intake } from "../../worker/intake.ts";
import { Offers } from "../../worker/offers.ts";
import { connectRedis, Messages, RunStore } from "../../worker/run-store.ts";

/** One attempt, as the program in it would see it. */
export class FakeAttempt {
  readonly record: RunRecord;
  readonly store: RunStore;
  readonly #streams = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };

  constructor(record: RunRecord, store: RunStore) {
    this.record = record;
    this.store = store;
  }

  started(): Promise<boolean> {
    return this.store.started(this.record);
  }

  async write(stream: "stdout" | "stderr", data: string | Buffer): Promise<void> {
    const before = this.#streams[stream];
    const bytes = Buffer.from(data);
    this.#streams[stream] = Buffer.concat([before, bytes]);
    await this.store.append(this.record, stream, before.length, bytes);
  }

  exit(exitCode: number): Promise<boolean> {
    return this.end({ kind: "exited", exitCode });
  }

  /** As its record's policy has it, the run is tried again. */
  end(outcome: Outcome): Promise<boolean> {
    const ms = backoffMs(this.record.request.retry, { outcome, retried: this.record.retried });
    return this.store.finish(this.record, {
      outcome,
      again: ms === undefined ? undefined : { backoffMs: ms, queueMs: 60_000 },
      receipt: { host: "fake", driver: "fake", attempt: this.record.attempt, phases: { queue: 0, run: 1 } },
      ran: true,
      stdout: factsOf(this.#streams.stdout),
      stderr: factsOf(this.#streams.stderr),
    });
  }
}

/** Of a stream of which everything was kept. */
export function factsOf(bytes: Buffer): StreamFacts {
  return {
    bytesSeen: bytes.length,
    bytesKept: bytes.length,
    bytesHead: bytes.length,
    truncated: false,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

export interface FakeWorkerOptions {
  readonly redisUrl: string;
  /** What every attempt does; exits 0 without it. */
  readonly behave?: (attempt: FakeAttempt) => Promise<unknown>;
  readonly capacity?: Partial<Capacity>;
  readonly hostId?: string;
  readonly pool?: string;
  /** In place of its own, to see or bend what it does. */
  readonly ledger?: Ledger;
  readonly wrapStore?: (store: RunStore) => RunStore;
  /** Publishes a host's record and does what operators tell the host; with it, what it does when a drain's time is over. */
  readonly onAbandon?: () => void;
  readonly log?: Log;
  /** Told since when, on the monotonic clock, each attempt is held. */
  readonly onTaken?: (takenAtMs: number) => void;
}

export interface FakeWorker {
  readonly offers: Offers;
  readonly ledger: Ledger;
  readonly store: RunStore;
  readonly redis: Redis;
  /** By which it hears of runs that it is given. */
  readonly subscriber: Redis;
  /** Runs that it has claimed, in order. */
  readonly claimed: readonly RunRecord[];
  /** Takes no more, waits for what it has, disconnects. Idempotent. */
  stop(): Promise<void>;
}

const ROOM: Capacity = { cpus: 64, memoryBytes: 64 * 2 ** 30, pids: 100_000, slots: 64 };

/** Resolves when it takes runs. */
export async function startFakeWorker(options: FakeWorkerOptions): Promise<FakeWorker> {
  const { behave = (attempt) => attempt.exit(0), hostId = "fake", pool = "default" } = options;
  const redis = connectRedis(options.redisUrl);
  redis.on("error", () => {}); // Tests take Redis away; it comes back.
  await redis.connect();
  const incarnation = newIncarnation();
  const own = new RunStore(redis, 60_000, incarnation);
  const store = options.wrapStore?.(own) ?? own;
  const ledger = options.ledger ?? new Ledger({ ...ROOM, ...options.capacity });
  const claimed: RunRecord[] = [];
  const execute = async (record: RunRecord, takenAtMs: number) => {
    claimed.push(record);
    options.onTaken?.(takenAtMs);
    await behave(new FakeAttempt(record, store));
  };
  const intake = new Intake(execute);
  const common = { pool, hostId, incarnation, ledger, store, intake, log: options.log ?? SILENT };
  const subscriber = redis.duplicate();
  subscriber.on("error", () => {});
  await subscriber.connect();
  const offers = new Offers({ ...common, messages: new Messages(subscriber) });
  const stopBeating = options.onAbandon && (await startHeart(options.onAbandon));
  await offers.start();

  async function startHeart(abandonAll: () => void): Promise<() => Promise<void>> {
    const duty = new Duty({ redis, ...common, offers, abandonAll });
    const fixed = { id: hostId, bootId: "boot", incarnation, pool, version: VERSION, driver: "fake" };
    const publish = (record: HostRecord) => own.publishHost(record);
    const heartbeat = new Heartbeat({ fixed, ledger, publish, standing: () => duty.look(), log: SILENT });
    duty.onChange(() => void heartbeat.beat());
    const hear = (order: HostOrder) => void (order.verb === "duty" && heartbeat.beat());
    await new Messages(subscriber).onOrder(hostId, hear, () => void heartbeat.beat());
    await heartbeat.start();
    return async () => {
      duty.stop();
      await heartbeat.stop();
    };
  }

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    offers.stop();
    await offers.idle();
    await intake.idle();
    await stopBeating?.();
    redis.disconnect();
    subscriber.disconnect();
  };
  return {
    offers,
    subscriber,
    ledger,
    store,
    redis,
    claimed,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}
