// Compression, told by the first bytes: of archives as a whole, and of layers whose archive does not say.

import { addAbortSignal, Duplex, pipeline, type Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { MayflyError } from "../../core/errors.ts";
import type { Compression } from "../layer/descriptor.ts";
import { tooLarge } from "./archive.ts";

type Bytes = AsyncIterable<Uint8Array>;

/** gzip: RFC 1952, 2.3.1. zstd: RFC 8878, 3.1.1 and, for the skippable frame that a chunked one may begin with, 3.1.2. */
const MAGIC: readonly (readonly [Compression, RegExp])[] = [
  ["gzip", /^1f8b08/],
  ["zstd", /^(28b52ffd|5.2a4d18)/],
];
export const MAGIC_BYTES = 4;

/** Large enough that the work a chunk costs Node does not count beside hashing it. */
const CHUNK_BYTES = 256 * 1024;

export function compressionOf(head: Uint8Array): Compression {
  const hex = Buffer.from(head.subarray(0, MAGIC_BYTES)).toString("hex");
  return MAGIC.find(([, magic]) => magic.test(hex))?.[0] ?? "none";
}

/**
 * What is inside, whatever it is compressed with. Destroying it ends `bytes`, and so does the signal.
 * Errors: `image_corrupt` if the compression breaks off or is wrong, `image_unsupported` over `maxBytes`, those of `bytes`.
 */
export function decompressed(bytes: Bytes, { maxBytes, signal }: { maxBytes: number; signal: AbortSignal }): Readable {
  const stages = [bounded(maxBytes), Duplex.from(decompressAny), bounded(maxBytes)] as const;
  const ignored = () => {}; // The last stream carries the error to its reader.
  return addAbortSignal(signal, pipeline(bytes, ...stages, ignored));
}

/** A layer's tar. Errors: `image_corrupt`, those of `bytes`. */
export function decompress(bytes: Bytes, compression: Compression): Bytes {
  if (compression === "none") return bytes;
  const options = { chunkSize: CHUNK_BYTES };
  const decoder = compression === "gzip" ? createGunzip(options) : createZstdDecompress(options);
  return inOurWords(
    pipeline(bytes, decoder, () => {}),
    compression,
  );
}

async function* decompressAny(bytes: Bytes): AsyncGenerator<Uint8Array> {
  const { head, all } = await peeked(bytes);
  yield* decompress(all, compressionOf(head));
}

/** Reads enough to tell the compression, and gives it back in front of the rest. */
async function peeked(bytes: Bytes): Promise<{ head: Buffer; all: Bytes }> {
  const chunks = bytes[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => chunks };
  }
  return { head, all: all() };
}

async function* inOurWords(bytes: Bytes, compression: Compression): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (cause) {
    if (!isZlibError(cause)) throw cause;
    throw new MayflyError("image_corrupt", `not whole as ${compression}: ${cause.message}`, { cause });
  }
}

function isZlibError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && /^(Z_|ZSTD_)/.test(String(error.code));
}

function bounded(maxBytes: number): Duplex {
  return Duplex.from(async function* (bytes: Bytes) {
    let total = 0;
    for await (const chunk of bytes) {
      total += chunk.byteLength;
      if (total > maxBytes) throw tooLarge(`${maxBytes} bytes`);
      yield chunk;
    }
  });
}
