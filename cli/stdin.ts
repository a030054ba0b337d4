// The caller's stdin, sent to a run as it comes.

import type { Readable } from "node:stream";
import { type Client, isClientError, STDIN_CHUNK_BYTES } from "./client.ts";

/**
 * Sends all of `source` in order, one request at a time, and then closes the run's stdin. What comes while a request is under way waits
 * in the source, which bounds it. Resolves early, and quietly, once the run takes no more input.
 * Aborting destroys the source, so that an open terminal does not keep the process alive.
 */
export async function feedStdin(client: Client, id: string, source: Readable, signal: AbortSignal): Promise<void> {
  const leave = () => source.destroy();
  signal.addEventListener("abort", leave, { once: true });
  try {
    for await (const chunk of source) {
      for (const bytes of slices(chunk)) await client.sendStdin(id, bytes, { signal });
    }
    await client.sendStdin(id, new Uint8Array(), { close: true, signal });
  } catch (error) {
    if (signal.aborted || (isClientError(error) && error.reason === "stdin_closed")) return;
    throw error;
  } finally {
    signal.removeEventListener("abort", leave);
    source.destroy();
  }
}

export function* slices(
  bytes: Uint8Array<ArrayBuffer>,
  size: number = STDIN_CHUNK_BYTES,
): Generator<Uint8Array<ArrayBuffer>, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
