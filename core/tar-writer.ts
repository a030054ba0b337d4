// Writes a tar as it is read: no more of it is in memory than a chunk.

import { BLOCK_BYTES, formatHeader, NAME_BYTES, paddingOf } from "./tar-header.ts";

/** A file to be: its size has to be known before its first byte. */
export interface TarFile {
  /** One that ends in a slash is that of a directory, which has no content. */
  readonly name: string;
  /** Permissions; readable by all without it. */
  readonly mode?: number;
  /** 1970 without it. */
  readonly modifiedMs?: number;
  readonly size: number;
  /** Called when it is the file's turn. It gives `size` bytes or fails. */
  content(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The archive's two closing blocks of zeros. */
export const END = Buffer.alloc(2 * BLOCK_BYTES);

/** The archive. Equal files make equal bytes. Fails with what a content fails with, or with the signal's reason. */
export async function* writeTar(files: Iterable<TarFile>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    const { size, content } = file;
    signal.throwIfAborted();
    yield headOf(file);
    for await (const chunk of content()) {
      signal.throwIfAborted();
      yield chunk;
    }
    if (paddingOf(size) > 0) yield Buffer.alloc(paddingOf(size));
  }
  yield END;
}

/** What stands before a file's content. */
export function headOf({ name, size, ...facts }: Omit<TarFile, "content">): Buffer {
  const header = formatHeader(name, size, { ...facts, flag: name.endsWith("/") ? "5" : "0" });
  return fitsHeader(name) ? header : Buffer.concat([paxHeader(name), header]);
}

/** ASCII of so many bytes is what every reader agrees on. */
const fitsHeader = (name: string): boolean => /^[\x20-\x7e]*$/.test(name) && name.length <= NAME_BYTES;

/** What stands before the header of a name that does not fit in it (pax(1), "pax Header Block"). */
function paxHeader(name: string): Buffer {
  const rest = Buffer.byteLength(` path=${name}\n`);
  let length = rest + String(rest).length; // The number counts its own digits, too.
  if (String(length).length > String(rest).length) length++;
  const record = Buffer.from(`${length} path=${name}\n`);
  return Buffer.concat([
    formatHeader("PaxHeader", record.length, { flag: "x" }),
    record,
    Buffer.alloc(paddingOf(record.length)),
  ]);
}

/** A file of bytes that are in memory. */
export function fileOf(name: string, bytes: Uint8Array): TarFile {
  return { name, size: bytes.length, content: () => [bytes] };
}
