// A body as it is, or what is inside if it is gzip: told by its first bytes, whatever its head says.

import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { isMayflyError, MayflyError } from "../../core/errors.ts";

type Bytes = AsyncIterable<Uint8Array>;

/** RFC 1952, 2.3.1. */
const MAGIC = Buffer.from([0x1f, 0x8b]);

/** Errors: `upload_invalid` if the compression is wrong or breaks off, `body_too_large` over `maxBytes` inside, those of `body`. */
export async function* gunzipped(body: Bytes, maxBytes: number): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < MAGIC.length) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const whole = joined(head, chunks);
  if (!head.subarray(0, MAGIC.length).equals(MAGIC)) return yield* whole;
  let bytes = 0;
  try {
    for await (const chunk of pipeline(whole, createGunzip(), () => {})) {
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new MayflyError("body_too_large", `what is in the gzip is more than ${maxBytes} bytes`, {
          details: { limit: maxBytes },
        });
      yield chunk;
    }
  } catch (cause) {
    if (isMayflyError(cause) || !(cause instanceof Error && "errno" in cause)) throw cause;
    throw new MayflyError("upload_invalid", `the gzip is not whole: ${cause.message}`, { cause });
  }
}

async function* joined(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (head.length > 0) yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
