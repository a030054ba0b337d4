// An HTTP answer, with its body still to be read, under time limits.

import type { Dispatcher } from "undici";
import { monotonicMs } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import { isCertificateError } from "./certificates.ts";
import { RateFloor } from "./rate-floor.ts";
import type { Watchdog } from "./watchdog.ts";

/** A body that nobody wants is read to its end if it is as short as this, and the connection is kept; else it is closed. */
const MAX_DISCARDED_BYTES = 16 * 1024;

/** One of `bytes`, `chunks` and `discard` must be called, once: an answer holds its connection until then, or until its signal aborts. */
export interface Answer {
  readonly status: number;
  /** The name in lower case; several lines of one name are joined by commas. */
  header(name: string): string | undefined;
  /** What answered, after redirects. */
  readonly url: URL;
  /** The whole body, in what is left of the request's time; undefined if it is larger than `maxBytes`. */
  bytes(maxBytes: number): Promise<Buffer | undefined>;
  /**
   * The body as it comes. Time counts only while the reader waits for a chunk. Ending the iteration early closes the connection.
   * `registry_unavailable` when it is lost, stands still or comes too slowly; then the cause says which.
   */
  chunks(): AsyncGenerator<Uint8Array>;
  discard(): Promise<void>;
}

export interface BodyLimits {
  /** Between two chunks of a body that is read as it comes. */
  readonly idleMs: number;
  /** Such a body's average over each `rateWindowMs` of waiting for it. */
  readonly minBytesPerS: number;
  readonly rateWindowMs: number;
}

export interface Reading {
  readonly url: URL;
  /** The caller's; when it aborts, the reading fails with its reason. */
  readonly signal: AbortSignal;
  /** Under way since the request was sent; stopped by whoever sent it, once the body is closed. */
  readonly watchdog: Watchdog;
  readonly limits: BodyLimits;
}

export function answerOf({ statusCode, headers, body }: Dispatcher.ResponseData, reading: Reading): Answer {
  return {
    status: statusCode,
    header: (name) => [headers[name] ?? []].flat().join(", ") || undefined,
    url: reading.url,
    bytes: (maxBytes) => collect(bodyOf(body, reading), maxBytes),
    chunks() {
      reading.watchdog.pause();
      return chunksOf(bodyOf(body, reading), reading);
    },
    // The connection is gone already where this fails, which is what was wanted.
    discard: () =>
      body.dump({ limit: MAX_DISCARDED_BYTES, signal: reading.watchdog.signal }).catch(() => void body.destroy()),
  };
}

/** What kept an answer from coming: the signal's reason if it has aborted, else `registry_unavailable` with the cause. */
export function networkError(url: URL, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  return error instanceof MayflyError ? error : unreachable(url, error);
}

/** The query is left out of the message: a redirect's carries a signature. */
export function unreachable(url: URL, error: unknown): MayflyError {
  return new MayflyError("registry_unavailable", `${url.origin}${url.pathname}: ${reasonOf(error)}`, {
    cause: error,
    details: { host: url.host, ...(isCertificateError(error) ? { certificate: error.code } : {}) },
  });
}

async function* bodyOf(
  body: AsyncIterable<Uint8Array>,
  { url, signal, watchdog }: Reading,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw networkError(url, watchdog.signal.aborted ? watchdog.signal.reason : error, signal);
  }
}

async function* chunksOf(body: AsyncGenerator<Uint8Array>, reading: Reading): AsyncGenerator<Uint8Array> {
  const { url, watchdog, limits } = reading;
  const floor = new RateFloor(limits.minBytesPerS, limits.rateWindowMs);
  try {
    for (;;) {
      const sinceMs = monotonicMs();
      watchdog.allow(limits.idleMs);
      const { done, value } = await body.next();
      watchdog.pause();
      if (done) return;
      checkRate(() => floor.add(value.byteLength, monotonicMs() - sinceMs), url);
      yield value;
    }
  } finally {
    await body.return(undefined);
  }
}

function checkRate(check: () => void, url: URL): void {
  try {
    check();
  } catch (error) {
    throw unreachable(url, error);
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

/** A name with several addresses fails with an error for each, and no words of its own. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (isCertificateError(error)) return `its certificate, or ours, is not trusted: ${error.message} (${error.code})`;
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map((one) => reasonOf(one)).join("; ");
  return error.message || String(error);
}
