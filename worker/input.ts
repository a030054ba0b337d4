// The program's stdin: read from the record as it grows, written at the program's pace.

import type { Writable } from "node:stream";
import { Bell } from "../core/bell.ts";

/** How much is read from Redis at a time. */
const PIECE_BYTES = 256 * 1024;

export interface InputSource {
  /** At most `length` bytes from `offset`; `complete` if nothing can come after them. */
  read(offset: number, length: number): Promise<{ bytes: Buffer; complete: boolean }>;
  /** Calls `wake` whenever there may be more. Returns the way to stop. */
  listen(wake: () => void): Promise<() => Promise<void>>;
}

/**
 * Copies the input to the program until it is complete, the program no longer reads, or `signal` aborts; then closes it.
 * Never rejects because of the program: a program may leave its input unread.
 */
export async function feedInput(stdin: Writable, source: InputSource, signal: AbortSignal): Promise<void> {
  const bell = new Bell();
  const ring = () => bell.ring();
  signal.addEventListener("abort", ring);
  stdin.once("close", ring);
  const unlisten = await source.listen(ring);
  try {
    for (let offset = 0; !signal.aborted && !stdin.destroyed; ) {
      const { bytes, complete } = await source.read(offset, PIECE_BYTES);
      offset += bytes.length;
      if (bytes.length > 0) await write(stdin, bytes, signal);
      if (complete) break;
      if (bytes.length === 0) await bell.wait();
    }
  } finally {
    signal.removeEventListener("abort", ring);
    await unlisten();
    stdin.end();
  }
}

/** Resolves when there is room for more, or nobody wants it any more. */
async function write(stdin: Writable, bytes: Buffer, signal: AbortSignal): Promise<void> {
  if (stdin.destroyed || signal.aborted || stdin.write(bytes)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const go = () => resolve();
  stdin.once("drain", go).once("close", go);
  signal.addEventListener("abort", go, { once: true });
  await promise;
  stdin.off("drain", go).off("close", go);
  signal.removeEventListener("abort", go);
}
