// How long to go on trying what may be tried again. The count starts anew with every sign of progress, so a long run may
// lose its connection often, but never many times in a row.

import { setTimeout as delay } from "node:timers/promises";
import { isClientError } from "./client-error.ts";

export interface Patience {
  /** Something new came: failures before it no longer count. */
  progress(): void;
  /** Waits until the next try is due. Throws `error` itself if it is not worth trying, or has been tried `limit` times. */
  afterFailure(error: unknown): Promise<void>;
}

export interface PatienceOptions {
  /** Tries after a failure, without progress between them. */
  readonly limit: number;
  /** Wait before the second such try, in ms; it doubles from there. The first is made at once. */
  readonly stepMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** No wait is longer, whatever `Retry-After` says: past it, giving up is the better answer. */
const MAX_WAIT_MS = 5_000;

export function createPatience({ limit, stepMs = 100, signal }: PatienceOptions): Patience {
  let failures = 0;
  return {
    progress() {
      failures = 0;
    },
    async afterFailure(error) {
      if (!isTransient(error) || failures >= limit) throw error;
      const backoffMs = failures === 0 ? 0 : stepMs * 2 ** (failures - 1);
      const askedMs = isClientError(error) ? (error.retryAfterMs ?? 0) : 0;
      failures += 1;
      await delay(Math.min(Math.max(backoffMs, askedMs), MAX_WAIT_MS), undefined, signal ? { signal } : undefined);
    },
  };
}

/** True if the same request may succeed later: the gateway was not there, or said that it has no room now. */
function isTransient(error: unknown): boolean {
  return isClientError(error) && (error.code === "unavailable" || error.code === "resource_exhausted");
}
