// What this host remembers of its images: <stateDir>/images/<hash>.json, one file a reference.
//
// All of it is in memory from the first question on; a file is what memory says, written durably, and read again only by the
// next life. A record that cannot be read counts as absent: it is only a memory, and the image is resolved and found again.
// The names are hashes because a repository's path and another's tag could want the same file name. The file's mtime is when
// the image was used last.

import { readFile, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Digest, digestOf, hexOf, isDigest } from "../content/digest.ts";
import { removeDurably, writeDurably } from "../content/durable.ts";
import { namesIn, removeUnfinishedFiles, unlessAbsent } from "../content/store.ts";
import { type Piece, piecesOf } from "./pieces.ts";

const DIGEST = z.custom<Digest>((value) => typeof value === "string" && isDigest(value));

const RECORD = z.object({
  reference: z.string(),
  digest: DIGEST,
  manifestDigest: DIGEST,
  configDigest: DIGEST,
  layers: z.array(z.object({ digest: DIGEST, diffId: DIGEST, size: z.int().nonnegative() })),
  pulledAt: z.iso.datetime(),
  pinned: z.boolean(),
});

/** One name of an image, and all that the image needs. */
export interface ImageRecord {
  /** Normalised. */
  readonly reference: string;
  /** Of what the reference names; of the manifest for this host; of the config. */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  /** The lowest first; `digest` and `size` are the blob's. */
  readonly layers: readonly { readonly digest: Digest; readonly diffId: Digest; readonly size: number }[];
  /** ISO 8601, UTC. */
  readonly pulledAt: string;
  readonly pinned: boolean;
}

/** A use is written down this often at most: what is a minute older or newer makes no difference to what is collected. */
const TOUCH_MS = 60_000;

/**
 * Of all images. Whoever may submit a run may make one up for an image that is here, with any tag beside its digest; a look at all of
 * this many takes some hundredths of a second.
 */
const MAX_NAMES = 10_000;

interface Entry {
  readonly record: ImageRecord;
  usedMs: number;
  writtenMs: number;
}

/** Every method but `load` is to be called once `load` has resolved. */
export class Records {
  readonly #directory: string;
  readonly #entries = new Map<string, Entry>();
  readonly #uses = new Map<Piece, number>();
  #loaded: Promise<void> | undefined;
  /** Files are written one after the other, each as memory is by then: the last word on a name is memory's. */
  #writing: Promise<void> = Promise.resolve();

  readonly #maxNames: number;

  constructor(directory: string, maxNames = MAX_NAMES) {
    this.#directory = directory;
    this.#maxNames = maxNames;
  }

  /** Reads the directory, once. */
  load(): Promise<void> {
    this.#loaded ??= this.#readAll();
    return this.#loaded;
  }

  get(reference: string): ImageRecord | undefined {
    return this.#entries.get(reference)?.record;
  }

  all(): ImageRecord[] {
    return Array.from(this.#entries.values(), ({ record }) => record);
  }

  /** True while a record needs the piece. */
  need(piece: Piece): boolean {
    return this.#uses.has(piece);
  }

  /** Epoch milliseconds, never to come: where the clock was ahead and is right again, the use counts as of now, once. */
  lastUsedMs(reference: string): number {
    const entry = this.#entries.get(reference);
    if (!entry) return 0;
    entry.usedMs = Math.min(entry.usedMs, Date.now());
    return entry.usedMs;
  }

  /** Costs nothing but, once a minute, a write that nobody waits for. */
  touch(reference: string): void {
    const entry = this.#entries.get(reference);
    if (!entry) return;
    entry.usedMs = Date.now();
    if (Math.abs(entry.usedMs - entry.writtenMs) < TOUCH_MS) return;
    entry.writtenMs = entry.usedMs;
    utimes(this.#pathOf(reference), entry.usedMs / 1000, entry.usedMs / 1000).catch(() => {}); // A use forgotten makes the image look older.
  }

  /**
   * Known at once, durable when it resolves. When it rejects, all is as before. Where there are too many names, the one used longest ago
   * goes that is not pinned; what is held of its image stays all the same.
   */
  async set(record: ImageRecord): Promise<void> {
    const before = this.#entries.get(record.reference);
    const now = Date.now();
    const entry = { record, usedMs: before?.usedMs ?? now, writtenMs: now };
    this.#replace(record.reference, entry);
    try {
      await this.#write(record.reference);
    } catch (error) {
      if (this.#entries.get(record.reference) === entry) this.#replace(record.reference, before);
      throw error;
    }
    for (const surplus of this.#surplus(record.reference)) await this.drop(surplus);
  }

  /** Forgotten at once, durably when it resolves. Idempotent. */
  async drop(reference: string): Promise<void> {
    this.#replace(reference, undefined);
    await this.#write(reference);
  }

  removeLeftovers(): Promise<void> {
    return removeUnfinishedFiles(this.#directory);
  }

  #surplus(newest: string): string[] {
    const count = this.#entries.size - this.#maxNames;
    if (count <= 0) return [];
    const droppable = [...this.#entries].filter(([name, { record }]) => name !== newest && !record.pinned);
    const byUse = droppable.toSorted(([, one], [, other]) => one.usedMs - other.usedMs);
    return byUse.slice(0, count).map(([name]) => name);
  }

  #replace(reference: string, entry: Entry | undefined): void {
    const before = this.#entries.get(reference);
    for (const piece of entry ? piecesOf(entry.record) : []) this.#uses.set(piece, (this.#uses.get(piece) ?? 0) + 1);
    for (const piece of before ? piecesOf(before.record) : []) {
      const uses = (this.#uses.get(piece) ?? 0) - 1;
      if (uses > 0) this.#uses.set(piece, uses);
      else this.#uses.delete(piece);
    }
    if (entry) this.#entries.set(reference, entry);
    else this.#entries.delete(reference);
  }

  #write(reference: string): Promise<void> {
    const written = this.#writing.then(() => this.#flush(reference));
    this.#writing = written.catch(() => {}); // Whoever asked for this write is told; the next one is another's.
    return written;
  }

  async #flush(reference: string): Promise<void> {
    const path = this.#pathOf(reference);
    const entry = this.#entries.get(reference);
    if (!entry) return removeDurably(path);
    await writeDurably(path, JSON.stringify(entry.record));
    await utimes(path, entry.usedMs / 1000, entry.usedMs / 1000);
  }

  async #readAll(): Promise<void> {
    for (const name of await namesIn(this.#directory)) {
      const entry = await readEntry(join(this.#directory, name));
      // A file under another name than its own is not one that we wrote.
      if (entry && this.#pathOf(entry.record.reference) === join(this.#directory, name)) {
        this.#replace(entry.record.reference, entry);
      }
    }
  }

  #pathOf(reference: string): string {
    return join(this.#directory, `${hexOf(digestOf(Buffer.from(reference)))}.json`);
  }
}

async function readEntry(path: string): Promise<Entry | undefined> {
  const [text, facts] = await Promise.all([unlessAbsent(readFile(path, "utf8")), unlessAbsent(stat(path))]);
  const parsed = RECORD.safeParse(jsonOf(text ?? ""));
  if (!parsed.success || !facts) return undefined;
  return { record: parsed.data, usedMs: facts.mtimeMs, writtenMs: facts.mtimeMs };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // A record that cannot be read counts as absent.
  }
}
