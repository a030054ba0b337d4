// A directory as a tar, for an upload: regular files and directories. No symlink is followed: what a program is sent is what lies there.

import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type TarFile, writeTar } from "../core/tar-writer.ts";
import { UPLOAD_BOUNDS } from "../core/uploads.ts";
import { UsageError } from "./usage-error.ts";

export interface Packed {
  /** Read as it is sent. A file that has shrunk meanwhile, or has gone, breaks it off. */
  readonly tar: ReadableStream<Uint8Array>;
  readonly entries: number;
  /** What is neither a file nor a directory, and is not in it. */
  readonly leftOut: readonly string[];
}

/** Throws UsageError for a directory that cannot be read, or has more in it than an upload may have, or nothing. */
export async function packDirectory(directory: string, signal: AbortSignal = NEVER): Promise<Packed> {
  const found: { files: TarFile[]; leftOut: string[] } = { files: [], leftOut: [] };
  try {
    await walk(directory, "", found);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${directory} cannot be sent: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (found.files.length === 0) throw new UsageError(`${directory} has no file in it`);
  const tar = ReadableStream.from(writeTar(found.files, signal)) as ReadableStream<Uint8Array>;
  return { tar, entries: found.files.length, leftOut: found.leftOut };
}

const NEVER = new AbortController().signal;

async function walk(root: string, below: string, found: { files: TarFile[]; leftOut: string[] }): Promise<void> {
  const entries = await readdir(join(root, below), { withFileTypes: true });
  // In one order, so that equal directories make equal bytes.
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = `${below}${entry.name}`;
    if (!entry.isFile() && !entry.isDirectory()) {
      found.leftOut.push(name);
      continue;
    }
    if (found.files.length === UPLOAD_BOUNDS.entries)
      throw new UsageError(`${root} has more than ${UPLOAD_BOUNDS.entries} files and directories in it`);
    const path = join(root, name);
    const { mode, size } = await stat(path);
    if (entry.isFile()) found.files.push({ name, mode: mode & 0o777, size, content: () => bytesOf(path, size) });
    else {
      found.files.push({ name: `${name}/`, mode: mode & 0o777, size: 0, content: () => [] });
      await walk(root, `${name}/`, found);
    }
  }
}

/** As many as it was said to have: one that grows is cut, one that shrinks is an error. */
async function* bytesOf(path: string, size: number): AsyncGenerator<Uint8Array> {
  if (size === 0) return;
  const file = await open(path);
  try {
    let bytes = 0;
    for await (const chunk of file.createReadStream({ end: size - 1, autoClose: false })) {
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes < size) throw new Error(`${path} has become shorter while it was sent`);
  } finally {
    await file.close();
  }
}
