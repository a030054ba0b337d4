// Content on disk, each under the digest of its bytes: content/sha256/<hex>. Manifests and configs, which are small and read
// whole, and the blobs of layers, which are large and stream.
//
// A blob's life: reserved (an unfinished file beside its place, which its writer fills) → flushed → renamed → kept → removed.
// A crash leaves an unfinished file, which `removeLeftovers` takes away at the next start.

import { mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { isErrno, MayflyError } from "../../core/errors.ts";
import { type Digest, digestOf, hexOf, isDigest } from "./digest.ts";
import { renameDurably, UNFINISHED, unfinishedName, writeDurably } from "./durable.ts";

/** A place for a blob that is to come. Exactly one of `commit` and `discard` ends it; discarding is idempotent. */
export interface ReservedBlob {
  /** Absolute; nothing is there yet, and its directory is. Whoever fills it has verified the digest before the commit. */
  readonly path: string;
  /** Flushes the file and puts it in its place. When it rejects, nothing is kept, and `discard` removes what was written. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** A file with this content. It may be removed at any time unless its image is held; who has opened it reads it to its end. */
export interface StoredContent {
  readonly path: string;
  readonly size: number;
}

export interface ContentStore {
  /** The bytes of something small, verified again, or undefined. Bytes that rotted on disk are removed and count as absent. */
  read(digest: Digest): Promise<Buffer | undefined>;
  /** Keeps the bytes. Idempotent, and safe to call at the same time. `image_corrupt` if they do not have this digest: then nothing is kept. */
  write(digest: Digest, bytes: Uint8Array): Promise<void>;
  /** For something large that is written by another hand. Two of the same digest do no harm: they have the same bytes. */
  reserve(digest: Digest): Promise<ReservedBlob>;
  stat(digest: Digest): Promise<StoredContent | undefined>;
  /** The bytes as they are on disk, not verified, or undefined. Whoever has the stream destroys it or reads it to its end. */
  open(digest: Digest): Promise<Readable | undefined>;
  /** Idempotent. Answers the bytes that were freed. */
  remove(digest: Digest): Promise<number>;
  /** All that is whole, in no order. */
  list(): Promise<{ digest: Digest; size: number }[]>;
  /** Removes what a crash left half-written. To be called while nothing is written. */
  removeLeftovers(): Promise<void>;
}

export function createContentStore(directory: string): ContentStore {
  const folder = join(directory, "sha256");
  const pathOf = (digest: Digest) => join(folder, hexOf(digest));
  const sizeOf = async (digest: Digest) => (await unlessAbsent(stat(pathOf(digest))))?.size;
  return {
    read: (digest) => readVerified(pathOf(digest), digest),
    async write(digest, bytes) {
      checkDigest(digest, bytes);
      await writeDurably(pathOf(digest), bytes);
    },
    async reserve(digest) {
      await mkdir(folder, { recursive: true });
      return reservation(pathOf(digest));
    },
    async stat(digest) {
      const size = await sizeOf(digest);
      return size === undefined ? undefined : { path: pathOf(digest), size };
    },
    open: async (digest) => (await unlessAbsent(open(pathOf(digest))))?.createReadStream(),
    async remove(digest) {
      const size = await sizeOf(digest);
      await rm(pathOf(digest), { force: true }); // A file goes in one step: there is nothing half-visible to rename away.
      return size ?? 0;
    },
    async list() {
      const digests = (await namesIn(folder)).map((name) => `sha256:${name}`).filter(isDigest);
      const sizes = await Promise.all(digests.map(sizeOf));
      return digests.flatMap((digest, index) => {
        const size = sizes[index];
        return size === undefined ? [] : [{ digest, size }];
      });
    },
    removeLeftovers: () => removeUnfinishedFiles(folder),
  };
}

/** Reserves no place for what is kept already. */
export function notYetKept(content: ContentStore): { reserve(digest: Digest): Promise<ReservedBlob | undefined> } {
  return { reserve: async (digest) => ((await content.stat(digest)) ? undefined : content.reserve(digest)) };
}

/** `image_corrupt`, with both digests, if the bytes are not what the digest says. */
export function checkDigest(expected: Digest, bytes: Uint8Array): void {
  const actual = digestOf(bytes);
  if (actual === expected) return;
  throw new MayflyError("image_corrupt", `content has digest ${actual}, not ${expected}`, {
    details: { expected, actual },
  });
}

/** Removes the unfinished files of one directory; a directory that is not there has none. */
export async function removeUnfinishedFiles(directory: string): Promise<void> {
  const unfinished = (await namesIn(directory)).filter((name) => name.startsWith(UNFINISHED));
  await Promise.all(unfinished.map((name) => rm(join(directory, name), { force: true })));
}

/** The names in a directory; one that is not there has none. */
export async function namesIn(directory: string): Promise<string[]> {
  return (await unlessAbsent(readdir(directory))) ?? [];
}

/** What the file system answers, or undefined if the path is not there. */
export async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function reservation(place: string): ReservedBlob {
  const path = unfinishedName(place);
  return {
    path,
    async commit() {
      await flush(path);
      await renameDurably(path, place);
    },
    discard: () => rm(path, { force: true }),
  };
}

/** Another program may have written the file; what it wrote is flushed here, whoever it was. */
async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readVerified(path: string, digest: Digest): Promise<Buffer | undefined> {
  const bytes = await unlessAbsent(readFile(path));
  if (bytes === undefined || digestOf(bytes) === digest) return bytes;
  await rm(path, { force: true });
  return undefined;
}
