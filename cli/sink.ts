// Bytes to one of the caller's streams, no faster than its reader takes them.

import type { Writable } from "node:stream";
import { isErrno } from "../core/errors.ts";

/** Whoever read the stream has gone (`mayfly run … | head`). Not a failure: there is just nobody left to write to. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

export interface Sink {
  /** Resolves once the stream has taken the bytes. Throws ReaderGone, or the stream's own error (a full disk). */
  write(bytes: Uint8Array | string): Promise<void>;
}

export function createSink(stream: Writable): Sink {
  // Node also emits what a write's callback is told; without a listener that would end the process.
  stream.on("error", () => undefined);
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (error) =>
          error ? reject(isReaderGone(error, stream) ? new ReaderGone() : error) : resolve(),
        );
      }),
  };
}

/**
 * EPIPE is the first write after the reader left; a stream that has failed answers with one of the others. Of a terminal EIO says
 * that its window is closed, of a file that a disk has failed.
 */
function isReaderGone(error: Error, stream: Writable): boolean {
  const isTerminal = "isTTY" in stream && stream.isTTY === true;
  return isErrno(error, "EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED") || (isTerminal && isErrno(error, "EIO"));
}
