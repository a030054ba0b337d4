// The body of an answer, as it comes.

import { interrupted } from "./client-error.ts";

/** Leaving early closes the connection. Throws ClientError `gateway_unreachable` if it breaks. */
export async function* chunksOf(response: Response): AsyncGenerator<Uint8Array, void> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw interrupted("the connection broke in the middle of the answer", cause);
      });
      if (done) return;
      yield value;
    }
  } finally {
    // A stream that has already failed cannot be cancelled, and has nothing left to give back.
    await reader.cancel().catch(() => undefined);
  }
}
