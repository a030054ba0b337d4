// An HTTP answer, with its body still to be read, under time limits.

import { MayflyError } from "../../core/errors.ts";
import type { Watchdog } from "./watchdog.ts";

/** One of `bytes`, `chunks` and `discard` must be called, once: an answer holds its connection until then. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** What answered, after redirects. */
  readonly url: URL;
  /** The whole body, in what is left of the request's time; undefined if it is larger than `maxBytes`. */
  bytes(maxBytes: number): Promise<Buffer | undefined>;
  /** The body as it comes. Time counts only while the reader waits for a chunk. Ending the iteration early closes the connection. */
  chunks(): AsyncGenerator<Uint8Array>;
  discard(): Promise<void>;
}

export interface Reading {
  readonly url: URL;
  /** The caller's; when it aborts, the reading fails with its reason. */
  readonly signal: AbortSignal;
  /** Under way since the request was sent. */
  readonly watchdog: Watchdog;
  /** Between two chunks of a body that is read as it comes. */
  readonly idleMs: number;
}

export function answerOf(response: Response, reading: Reading): Answer {
  return {
    status: response.status,
    headers: response.headers,
    url: reading.url,
    bytes: (maxBytes) => collect(bodyOf(response, reading), maxBytes),
    chunks: () => chunksOf(bodyOf(response, reading), reading),
    async discard() {
      reading.watchdog.stop();
      await response.body?.cancel().catch(() => undefined); // The connection is gone already, which is what was wanted.
    },
  };
}

/** What kept an answer from coming: the signal's reason if it has aborted, else `registry_unavailable` with the cause. */
export function networkError(url: URL, error: unknown, signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : unreachable(url, error);
}

/** The query is left out of the message: a redirect's carries a signature. */
export function unreachable(url: URL, error: unknown): MayflyError {
  return new MayflyError("registry_unavailable", `${url.origin}${url.pathname}: ${reasonOf(error)}`, {
    cause: error,
    details: { host: url.host },
  });
}

async function* bodyOf(response: Response, { url, signal, watchdog }: Reading): AsyncGenerator<Uint8Array> {
  try {
    yield* response.body ?? [];
  } catch (error) {
    throw networkError(url, watchdog.signal.aborted ? watchdog.signal.reason : error, signal);
  } finally {
    watchdog.stop();
  }
}

async function* chunksOf(body: AsyncIterable<Uint8Array>, { watchdog, idleMs }: Reading): AsyncGenerator<Uint8Array> {
  watchdog.allow(idleMs);
  for await (const chunk of body) {
    watchdog.pause();
    yield chunk;
    watchdog.allow(idleMs);
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer | undefined> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.byteLength;
    if (size > maxBytes) return undefined;
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** `fetch` says "fetch failed", and why in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || String(error.cause) : error.message;
}
