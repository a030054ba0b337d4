// Writes a tar as it is read: no more of it is in memory than a chunk.

import { BLOCK_BYTES, formatHeader, paddingOf } from "./tar-header.ts";

/** A file to be: its size has to be known before its first byte. */
export interface TarFile {
  /** At most 100 bytes of ASCII. */
  readonly name: string;
  readonly size: number;
  /** Called when it is the file's turn. It gives `size` bytes or fails. */
  content(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The archive's two closing blocks of zeros. */
const END = Buffer.alloc(2 * BLOCK_BYTES);

/** The archive. Equal files make equal bytes. Fails with what a content fails with, or with the signal's reason. */
export async function* writeTar(files: readonly TarFile[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const { name, size, content } of files) {
    signal.throwIfAborted();
    yield formatHeader(name, size);
    for await (const chunk of content()) {
      signal.throwIfAborted();
      yield chunk;
    }
    if (paddingOf(size) > 0) yield Buffer.alloc(paddingOf(size));
  }
  yield END;
}

/** A file of bytes that are in memory. */
export function fileOf(name: string, bytes: Uint8Array): TarFile {
  return { name, size: bytes.length, content: () => [bytes] };
}
