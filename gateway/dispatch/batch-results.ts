// What came of a batch's items, read in pages: from the batch how each ended, and from its run what it wrote, as long as that is kept.

import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { BatchResult } from "../../core/batch.ts";
import { itemRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import type { StreamFacts } from "../../core/run.ts";
import { toOutput } from "../answer.ts";
import { onRedis } from "./redis.ts";

export const ORDERS = ["completion", "input"] as const;

/** Where a reader is, and how much it wants of each stream. */
export interface Position {
  readonly order: (typeof ORDERS)[number];
  readonly from: number;
  readonly outputBytes: number;
  /** In the order of completion: of what was never begun, all before this index has been read. Only the first page has to look for it. */
  readonly neverFrom?: number | undefined;
}

export interface Page {
  readonly results: BatchResult[];
  /** Where the next begins. */
  readonly next: Position;
}

/** What is known of a batch by who reads its results. */
export interface Extent {
  readonly total: number;
  /** Items from here on that have no end were never begun. Only of a batch that is over. */
  readonly unfedFrom: number | undefined;
}

/** A page holds no more output than this, and no more items than that. */
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_ITEMS = 50;

interface End {
  readonly index: number;
  /** Its key, a line end, and its outcome as JSON. */
  readonly text: string;
}

interface Found {
  readonly ends: readonly End[];
  readonly neverFrom?: number | undefined;
}

const NEVER_BEGUN = `\n${JSON.stringify({ kind: "cancelled" })}`;

export class BatchResults {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Those that are there from a position on, in its order; none if there are none yet. */
  async page(id: string, position: Position, extent: Extent): Promise<Page> {
    const items = Math.max(1, Math.min(PAGE_ITEMS, Math.floor(PAGE_BYTES / (2 * position.outputBytes + 1))));
    const { ends, neverFrom } = await this.#on(async () =>
      position.order === "input"
        ? { ends: await this.#inInputOrder(id, position.from, items, extent), neverFrom: undefined }
        : await this.#inCompletionOrder(id, position, items, extent),
    );
    const results = await this.#on(() => Promise.all(ends.map((end) => this.#result(id, end, position.outputBytes))));
    return { results, next: { ...position, from: position.from + ends.length, neverFrom } };
  }

  async #inInputOrder(id: string, from: number, items: number, { total, unfedFrom }: Extent): Promise<End[]> {
    const indexes = range(from, Math.min(from + items, total));
    const ends: End[] = [];
    for (const end of await this.#ends(id, indexes)) {
      const isNever = unfedFrom !== undefined && end.index >= unfedFrom;
      if (end.text === undefined && !isNever) break;
      ends.push({ index: end.index, text: end.text ?? NEVER_BEGUN });
    }
    return ends;
  }

  /** What was never begun comes last. */
  async #inCompletionOrder(
    id: string,
    { from, neverFrom }: Position,
    items: number,
    { total, unfedFrom }: Extent,
  ): Promise<Found> {
    if (neverFrom !== undefined) return this.#neverBegun(id, { start: neverFrom, toPass: 0, total });
    const done = (await this.#redis.lrange(`${keys.batch(id)}:done`, from, from + items - 1)).map(Number);
    if (done.length > 0)
      return {
        ends: (await this.#ends(id, done)).flatMap(({ index, text }) => (text === undefined ? [] : [{ index, text }])),
      };
    if (unfedFrom === undefined) return { ends: [] };
    const toPass = from - (await this.#redis.llen(`${keys.batch(id)}:done`));
    return this.#neverBegun(id, { start: unfedFrom, toPass, total });
  }

  /** A page of those that have no end from `start` on, without the first `toPass`. They have no output, and are small. */
  async #neverBegun(
    id: string,
    { start, toPass, total }: { start: number; toPass: number; total: number },
  ): Promise<Found> {
    const ends: End[] = [];
    let at = start;
    while (at < total && ends.length < PAGE_ITEMS) {
      // No more is looked at than is wanted, or the next page would look at it again.
      const count = toPass > 0 ? Math.min(toPass, LOOK) : PAGE_ITEMS - ends.length;
      const looked = range(at, Math.min(at + count, total));
      for (const { index, text } of await this.#ends(id, looked)) {
        if (text !== undefined) continue;
        if (toPass > 0) toPass--;
        else ends.push({ index, text: NEVER_BEGUN });
      }
      at += looked.length;
    }
    return { ends, neverFrom: at };
  }

  async #ends(id: string, indexes: readonly number[]): Promise<{ index: number; text: string | undefined }[]> {
    if (indexes.length === 0) return [];
    const texts = await this.#redis.hmget(`${keys.batch(id)}:ends`, ...indexes.map(String));
    return indexes.map((index, i) => ({ index, text: texts[i] ?? undefined }));
  }

  async #result(id: string, { index, text }: End, outputBytes: number): Promise<BatchResult> {
    const at = text.indexOf("\n");
    const key = text.slice(0, at);
    const common = { index, ...(key === "" ? {} : { key }) };
    const run = itemRunId(id, index);
    const outcome = JSON.parse(text.slice(at + 1));
    if (text === NEVER_BEGUN) return { ...common, outcome };
    const facts = await this.#redis.hmget(keys.run(run), "receipt", "stdout", "stderr", "id");
    const [receipt, stdout, stderr, isKept] = facts;
    if (outcome.kind === "rejected" && !isKept) return { ...common, outcome }; // A line that could not be read, or no run was made of.
    return {
      ...common,
      run,
      outcome,
      ...(stdout ? { stdout: await this.#output(run, "stdout", JSON.parse(stdout), outputBytes) } : {}),
      ...(stderr ? { stderr: await this.#output(run, "stderr", JSON.parse(stderr), outputBytes) } : {}),
      ...(receipt ? { receiptDigest: `sha256:${createHash("sha256").update(receipt).digest("hex")}` } : {}),
    };
  }

  async #output(run: string, stream: "stdout" | "stderr", facts: StreamFacts, maxBytes: number) {
    const wanted = Math.min(maxBytes, facts.bytesKept);
    const bytes =
      wanted === 0 ? Buffer.alloc(0) : await this.#redis.getrangeBuffer(keys.output(run, stream), 0, wanted - 1);
    const isCut = bytes.length < facts.bytesKept;
    const { encoding, data } = toOutput(facts, isCut ? wholeCharacters(bytes) : bytes);
    return { encoding, data, bytesSeen: facts.bytesSeen, truncated: isCut || facts.truncated };
  }

  #on<T>(work: () => Promise<T>): Promise<T> {
    return onRedis(this.#redis, work);
  }
}

/** Never begun are passed over so many at a time. */
const LOOK = 1_000;

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

/** Less a character of UTF-8 that a cut has left the beginning of. */
function wholeCharacters(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return bytes;
    if (byte >= 0xc0) return bytes.subarray(0, bytes.length - back);
  }
  return bytes;
}
