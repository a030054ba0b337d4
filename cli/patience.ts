// How long to go on trying what may be tried again. The count starts anew with every sign of progress, so a long run may
// lose its connection often, but never many times in a row.

import { setTimeout as delay } from "node:timers/promises";
import { type ClientError, isClientError } from "./client-error.ts";

export interface Patience {
  /** Something new came: failures before it no longer count. */
  progress(): void;
  /** Waits until the next try is due. Throws `error` itself if it is not worth trying, or has been tried `limit` times. */
  afterFailure(error: unknown): Promise<void>;
}

export interface PatienceOptions {
  /** Tries after a failure, without progress between them. */
  readonly limit: number;
  /**
   * Wait before the second such try, in ms; it doubles from there, less up to half of it at random, so that many callers do not come
   * back together. The first is made at once if the connection failed, and after one step if the gateway refused.
   */
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
      const { status, retryAfterMs = 0 } = error;
      const backoffMs = failures === 0 && status === undefined ? 0 : stepMs * 2 ** Math.max(0, failures - 1);
      failures += 1;
      const waitMs = Math.min(Math.max(jittered(backoffMs), retryAfterMs), MAX_WAIT_MS);
      await pause(waitMs, signal);
    },
  };
}

/** Throws the signal's own reason if it aborts meanwhile. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return;
  try {
    await delay(ms, undefined, signal ? { signal } : undefined);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

const jittered = (ms: number): number => ms * (1 - Math.random() / 2);

/** True if the same request may succeed later: the gateway was not there, or said that it has no room now. */
function isTransient(error: unknown): error is ClientError {
  return isClientError(error) && (error.code === "unavailable" || error.code === "resource_exhausted");
}
