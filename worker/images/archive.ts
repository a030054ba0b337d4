// The body of a request as chunks, up to a limit.

import { MayflyError } from "../../core/errors.ts";

/** Errors: `body_too_large`, once so much has come; what the connection fails with. */
export async function* chunksOf(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      const message = `the archive is more than ${maxBytes} bytes`;
      throw new MayflyError("body_too_large", message, { details: { limit: maxBytes } });
    }
    yield chunk;
  }
}
