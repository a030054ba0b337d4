// Writing files so that a crash at any moment leaves them whole or absent.

import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Marks what is not finished. No finished name starts with it; what does is a leftover of a crash. */
export const UNFINISHED = ".unfinished-";

/** A name next to `path` that nobody else uses, on the same file system, so that a rename puts it in place. */
export function unfinishedName(path: string): string {
  return join(dirname(path), `${UNFINISHED}${basename(path)}-${randomBytes(6).toString("hex")}`);
}

/** Writes, flushes and renames; the directory is made if it is missing. When it rejects, `path` is as it was before. */
export async function writeDurably(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = unfinishedName(path);
  try {
    await writeAndFlush(unfinished, bytes);
    await renameDurably(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/** A rename that has reached the disk when it resolves: the entry lives in the directory, so the directory is flushed. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await flushDirectory(dirname(to));
}

async function writeAndFlush(path: string, bytes: Uint8Array | string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Removes a file; it is gone for good when this resolves. Idempotent. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true });
  await flushDirectory(dirname(path));
}

export async function flushDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
