// The gateway's side of the batches in Redis: made, filled, fed, stopped, read, listed.

import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Batch } from "../../core/batch.ts";
import { FEED_WINDOW } from "../../core/batch-parts.ts";
import { MayflyError } from "../../core/errors.ts";
import { newBatchId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import type { Outcome } from "../../core/run.ts";
import type { Transition } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";
import { BATCH_FIELDS, parseBatch, type StoredBatch } from "./batch-record.ts";
import * as scripts from "./batch-scripts.ts";
import type { Orders } from "./orders.ts";
import { onRedis } from "./redis.ts";
import { IDEMPOTENCY_MS } from "./submit.ts";
import { UploadPins } from "./upload-pins.ts";

export interface BatchLimits {
  readonly maxItems: number;
  /** Of items that wait. */
  readonly maxWaitingBytes: number;
  /** Unfinished ones, of a tenant. */
  readonly maxBatches: number;
  /** After which input that does not come is over. */
  readonly idleMs: number;
  readonly maxQueued: number;
  readonly maxKept: number;
  readonly retentionMs: number;
}

/** One line of the input, made ready. */
export interface Entry {
  readonly line: number;
  readonly kind: "item" | "malformed";
  readonly text: string | Buffer;
  /** That it names, and the item's key. */
  readonly upload?: { readonly id: string; readonly key: string | undefined };
}

/** Lines that come after line `from`, up to `to`. */
export interface Chunk {
  readonly from: number;
  readonly to: number;
  readonly entries: readonly Entry[];
  /** By the name that items know them by. */
  readonly shapes: ReadonlyMap<string, string>;
  readonly close: boolean;
}

export interface Progress {
  readonly line: number;
  readonly accepted: number;
}

/** How many batches a tenant's list goes back; of each a few hundred bytes are kept, and its results as long as runs are. */
const MAX_KEPT_BATCHES = 10_000;
/** So many items are fed, or stopped, in one step: some milliseconds in which Redis does nothing else. */
const STEP = 100;
/** So many batches are looked at between two looks at which are due. */
const DUE = 32;
const CANCELLED: Outcome = { kind: "cancelled" };

export class BatchStore {
  readonly limits: BatchLimits;
  readonly uploads: UploadPins;
  readonly #redis: Redis;
  readonly #orders: Orders;

  constructor(redis: Redis, orders: Orders, limits: BatchLimits) {
    this.#redis = redis;
    this.#orders = orders;
    this.limits = limits;
    this.uploads = new UploadPins(redis);
  }

  /** Answers the batch's id: of the one made now or, with a key that is remembered, then. Throws `too_many_batches`. */
  async create(tenant: string, fields: readonly (string | Buffer)[], idempotencyKey?: string): Promise<string> {
    const id = newBatchId();
    const { maxBatches } = this.limits;
    const name = idempotencyKey === undefined ? "" : idempotency(tenant, idempotencyKey);
    const args = [id, tenant, maxBatches, MAX_KEPT_BATCHES, IDEMPOTENCY_MS, ...fields];
    const answer = await this.#run(scripts.create, [keys.batch(id), keys.batches(tenant), name], args);
    const [kind, made = ""] = answer as [string, string?];
    if (kind !== "full") return made;
    throw new MayflyError("too_many_batches", `${tenant} has ${maxBatches} unfinished batches, the limit`, {
      details: { limit: maxBatches },
    });
  }

  /** Whether a batch was made with this key. */
  async remembers(tenant: string, idempotencyKey: string | undefined): Promise<boolean> {
    if (idempotencyKey === undefined) return false;
    return (await this.#on((redis) => redis.exists(idempotency(tenant, idempotencyKey)))) === 1;
  }

  /** Safe to repeat. Throws `batch_not_found`, `batch_closed`, `batch_too_large`; `invalid_field` if lines are missing before these. */
  async accept(id: string, { from, to, entries, shapes, close }: Chunk): Promise<Progress> {
    const { maxItems, maxWaitingBytes, retentionMs } = this.limits;
    const args = [
      ...[id, from, to, close ? "1" : "0", maxItems, maxWaitingBytes, retentionMs],
      ...[shapes.size, ...[...shapes].flat(), ...entries.flatMap(({ line, kind, text }) => [line, kind, text])],
    ];
    const answer = await this.#run(scripts.accept, [keys.batch(id)], args);
    const [kind, line, accepted] = answer as [string, number, number];
    switch (kind) {
      case "ok":
        return { line, accepted };
      case "missing":
        throw batchNotFound(id);
      case "gap":
        throw new MayflyError("invalid_field", `from is ${from}, and the batch has only ${line} lines`, {
          details: { field: "from" },
        });
      case "items":
        throw tooLarge(`a batch may have ${maxItems} items (MAYFLY_MAX_BATCH_ITEMS)`, maxItems);
      case "bytes":
        throw new MayflyError(
          "queue_full",
          `${maxWaitingBytes} bytes of its items wait (MAYFLY_MAX_BATCH_WAITING): go on once some have run`,
          { details: { limit: maxWaitingBytes } },
        );
      default:
        throw new MayflyError("batch_closed", `the batch ${id} takes no more items after line ${line}`);
    }
  }

  /** Safe to repeat. What cannot be done to a batch that is over is not. Throws `batch_not_found`. */
  async control(id: string, verb: "pause" | "resume" | "cancel"): Promise<void> {
    const args = [id, verb, this.limits.retentionMs];
    const [kind] = (await this.#run(scripts.control, [keys.batch(id)], args)) as [string];
    if (kind === "missing") throw batchNotFound(id);
  }

  async due(): Promise<string[]> {
    return (await this.#run(scripts.due, [], [DUE])) as string[];
  }

  /** What there is to do about one batch, as far as one step goes. True if there may be more. */
  async step(id: string): Promise<boolean> {
    const { maxQueued, maxKept, idleMs, retentionMs } = this.limits;
    const args = [id, STEP, maxQueued, maxKept, idleMs, retentionMs];
    const answer = await this.#run(scripts.feed, [keys.batch(id)], args);
    return answer === "halt" ? this.#halt(id) : answer === "more";
  }

  async #halt(id: string): Promise<boolean> {
    const args = [id, 2 * FEED_WINDOW, JSON.stringify(CANCELLED), this.limits.retentionMs];
    const [more, ...held] = (await this.#run(scripts.halt, [keys.batch(id)], args)) as string[];
    for (let i = 0; i + 1 < held.length; i += 2)
      if (held[i + 1]) await this.#orders.tell(String(held[i + 1]), { verb: "cancel", run: String(held[i]) });
    return more === "1";
  }

  /** Throws `batch_not_found`, also for another tenant's. */
  async get(id: string, tenant: string): Promise<StoredBatch> {
    const found = await this.#read(id);
    if (found?.tenant !== tenant) throw batchNotFound(id);
    return found;
  }

  /** Newest first, from before `cursor`. */
  async list(tenant: string, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
    const index = keys.batches(tenant);
    const ids = await this.#on((redis) =>
      redis.zrevrangebylex(index, cursor ? `(${cursor}` : "+", "-", "LIMIT", 0, limit),
    );
    const found = await Promise.all(ids.map((id) => this.#read(id)));
    const gone = ids.filter((_, i) => !found[i]);
    if (gone.length > 0) await this.#on((redis) => redis.zrem(index, ...gone));
    const batches: Batch[] = found.flatMap((each) => (each ? [each.batch] : []));
    return { batches, next: ids.length === limit ? ids.at(-1) : undefined };
  }

  async #read(id: string): Promise<StoredBatch | undefined> {
    const answer = await this.#run(scripts.read, [keys.batch(id)], BATCH_FIELDS);
    return parseBatch(answer as Parameters<typeof parseBatch>[0]);
  }

  #run(script: Transition, names: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#on((redis) => runTransition(redis, script, names, args));
  }

  #on<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    return onRedis(this.#redis, () => work(this.#redis));
  }
}

/** The key itself is not kept: it may be long. */
function idempotency(tenant: string, key: string): string {
  return keys.idempotency(`${tenant}:batch:${createHash("sha256").update(key).digest("base64url")}`);
}

export function batchNotFound(id: string): MayflyError {
  return new MayflyError("batch_not_found", `there is no batch ${id}`, { details: { batch: id } });
}

function tooLarge(what: string, limit: number): MayflyError {
  return new MayflyError("batch_too_large", what, { details: { limit } });
}
