// Archives as they go in and out: chunks, up to a limit, and never a part that looks whole.

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

/** The same bytes. If they fail, `hangUp` is to cut the connection: an answer that merely ended would be taken for whole. */
export async function* orHangUp(
  bytes: AsyncIterable<Uint8Array>,
  hangUp: (error: unknown) => void,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  try {
    yield* bytes as AsyncIterable<Uint8Array<ArrayBuffer>>;
  } catch (error) {
    hangUp(error);
  }
}
