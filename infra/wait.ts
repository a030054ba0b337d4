// Waiting for what gives no sign of its own: asked again and again, at growing distances, within a limit.

import { setTimeout as delay } from "node:timers/promises";

const FIRST_DELAY_MS = 5;
const MAX_DELAY_MS = 200;

export interface WaitOptions {
  readonly limitMs: number;
  /** The error that the last try's becomes once the limit is over. */
  readonly late?: (last: Error) => Error;
  /** Ends the waiting early, by rejecting: the process that is waited for has died. */
  readonly unless?: Promise<never>;
}

/** Asks until `probe` no longer throws, and gives what it returned. */
export async function waitUntil<T>(probe: () => Promise<T>, options: WaitOptions): Promise<T> {
  const over = new AbortController();
  const asking = ask(probe, options, over.signal);
  return options.unless ? Promise.race([asking, options.unless]).finally(() => over.abort()) : asking;
}

async function ask<T>(probe: () => Promise<T>, options: WaitOptions, over: AbortSignal): Promise<T> {
  const { limitMs, late = (last) => last } = options;
  const end = performance.now() + limitMs;
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(delayMs * 2, MAX_DELAY_MS)) {
    try {
      return await probe();
    } catch (error) {
      if (performance.now() + delayMs > end) throw late(error as Error);
    }
    await delay(delayMs, undefined, { signal: over });
  }
}

/** Gives what the promise gives, or rejects with `reason()` after `limitMs`. The work behind it goes on. */
export function withLimit<T>(promise: Promise<T>, limitMs: number, reason: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const limit = setTimeout(() => reject(reason()), limitMs);
    promise.then(resolve, reject).finally(() => clearTimeout(limit));
  });
}
