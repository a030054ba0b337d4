// Manifests and configs on disk, each under the digest of its bytes: content/sha256/<hex>.
//
// Small things only: they are read and written whole. Layers are not kept as blobs at all (see layer/store.ts).

import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, MayflyError } from "../../core/errors.ts";
import { type Digest, digestOf, hexOf } from "./digest.ts";
import { UNFINISHED, writeDurably } from "./durable.ts";

export interface ContentStore {
  /** The bytes, verified again, or undefined. Bytes that rotted on disk are removed and count as absent. */
  read(digest: Digest): Promise<Buffer | undefined>;
  /** Keeps the bytes. Idempotent, and safe to call at the same time. `image_corrupt` if they do not have this digest: then nothing is kept. */
  write(digest: Digest, bytes: Uint8Array): Promise<void>;
  /** Removes what a crash left half-written. To be called while nothing is written. */
  removeLeftovers(): Promise<void>;
}

export function createContentStore(directory: string): ContentStore {
  const folder = join(directory, "sha256");
  const pathOf = (digest: Digest) => join(folder, hexOf(digest));
  return {
    read: (digest) => readVerified(pathOf(digest), digest),
    async write(digest, bytes) {
      checkDigest(digest, bytes);
      await writeDurably(pathOf(digest), bytes);
    },
    removeLeftovers: () => removeUnfinishedFiles(folder),
  };
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
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
  const unfinished = names.filter((name) => name.startsWith(UNFINISHED));
  await Promise.all(unfinished.map((name) => rm(join(directory, name), { force: true })));
}

async function readVerified(path: string, digest: Digest): Promise<Buffer | undefined> {
  const bytes = await readIfThere(path);
  if (bytes === undefined || digestOf(bytes) === digest) return bytes;
  await rm(path, { force: true });
  return undefined;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
