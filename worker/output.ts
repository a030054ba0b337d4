// The program's output on its way to the record: counted, hashed, capped, sent on as it comes.
//
// Over the cap the program is not stopped. The first bytes are kept and sent on live, the last bytes are kept in a ring and
// stored at the end, and what is between them is counted.

import { createHash, type Hash } from "node:crypto";
import type { Readable } from "node:stream";
import { liveBytes, NOTHING_SEEN, type StreamFacts } from "../core/run.ts";

/** Stores bytes at an offset, the end of those before; resolves when they are safe. The program is slowed to its pace. */
export type Append = (offset: number, bytes: Buffer) => Promise<void>;

/** Reads the stream to its end. Memory is bounded by the tail and one chunk. Rejects if `append` does. */
export async function keepOutput(stream: Readable, capBytes: number, append: Append): Promise<StreamFacts> {
  const headBytes = liveBytes(capBytes);
  const tail = new Ring(capBytes - headBytes);
  let hash: Hash | undefined;
  let seen = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash ??= createHash("sha256");
    hash.update(chunk);
    const room = Math.max(0, headBytes - seen);
    if (room > 0) await append(seen, chunk.subarray(0, room));
    seen += chunk.length;
    if (chunk.length > room) tail.push(chunk.subarray(room));
  }
  if (!hash) return NOTHING_SEEN; // As most streams of most runs.
  const bytesHead = Math.min(seen, headBytes);
  const end = tail.bytes();
  if (end.length > 0) await append(bytesHead, end);
  const bytesKept = bytesHead + end.length;
  return { bytesSeen: seen, bytesKept, bytesHead, truncated: seen > bytesKept, sha256: hash.digest("hex") };
}

/** The last `size` bytes of what was pushed. */
class Ring {
  readonly size: number;
  #bytes: Buffer;
  #next = 0;
  #full = false;

  constructor(size: number) {
    this.size = size;
    this.#bytes = Buffer.alloc(0);
  }

  push(chunk: Buffer): void {
    if (this.size === 0) return;
    // Most runs write less than the cap: the ring is made when it is first needed.
    if (this.#bytes.length === 0) this.#bytes = Buffer.alloc(this.size);
    const last = chunk.subarray(-this.size);
    const first = last.copy(this.#bytes, this.#next);
    last.copy(this.#bytes, 0, first);
    this.#full ||= this.#next + last.length >= this.size;
    this.#next = (this.#next + last.length) % this.size;
  }

  bytes(): Buffer {
    if (!this.#full) return this.#bytes.subarray(0, this.#next);
    return Buffer.concat([this.#bytes.subarray(this.#next), this.#bytes.subarray(0, this.#next)]);
  }
}
