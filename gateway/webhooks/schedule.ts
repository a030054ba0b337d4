// When a delivery that failed is tried again, and when no more.

import { parseRetryAfter } from "./retry-after.ts";

const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000];

/**
 * From one attempt to the next. In all about 19 hours: with the longest jitter still less than the 24 hours that a finished run is kept
 * if nobody says otherwise. A run that is kept for a shorter time is told of for that time.
 */
export const DELAYS_MS: readonly number[] = [
  ...[5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE],
  ...[HOUR, 2 * HOUR, 4 * HOUR, 5 * HOUR, 6 * HOUR],
];

export const MAX_ATTEMPTS = DELAYS_MS.length + 1;

/** A delay is up to so much shorter or longer: what failed together does not come back together. */
export const JITTER = 0.2;

/** The longest that a receiver may put off the next attempt. */
export const MAX_RETRY_AFTER_MS = 6 * HOUR;

/** What came of an attempt, as far as it matters here. */
export interface Answered {
  readonly status?: number | undefined;
  /** The header of this name. */
  readonly retryAfter?: string | undefined;
}

export type Verdict =
  | { readonly state: "delivered" | "failed" }
  | { readonly state: "pending" /** Until the next attempt. */; readonly delayMs: number };

/** `tries` counts this attempt. `chance` is from 0 to 1, and `nowMs` what a date in `Retry-After` is measured from. */
export function judge(
  { status, retryAfter }: Answered,
  { tries, maxTries, chance, nowMs }: { tries: number; maxTries: number; chance: number; nowMs: number },
): Verdict {
  if (status !== undefined && status >= 200 && status < 300) return { state: "delivered" };
  const delay = DELAYS_MS[tries - 1];
  // Gone: the receiver says that it wants no more of them.
  if (status === 410 || tries >= maxTries || delay === undefined) return { state: "failed" };
  const own = delay * (1 + JITTER * (2 * chance - 1));
  const asked = status === 429 || status === 503 ? parseRetryAfter(retryAfter, nowMs) : undefined;
  return { state: "pending", delayMs: Math.round(Math.max(own, Math.min(asked ?? 0, MAX_RETRY_AFTER_MS))) };
}
