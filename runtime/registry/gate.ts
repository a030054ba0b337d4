// "Too many requests" (RFC 6585, section 4), honoured by all requests to the host that said so, and not by the one that was told alone.

import { setTimeout as sleep } from "node:timers/promises";
import { MayflyError } from "../../core/errors.ts";
import { Until } from "./until.ts";

/** A host that says "too many" and not for how long is left alone for a second. */
const UNTOLD_WAIT_MS = 1_000;

/** A host may not send us away for longer with one answer: it is asked again then, and may say it again. */
const MAX_GATE_MS = 600_000;

export class Gate {
  readonly #until = new Until();

  /**
   * To be told of every answer: a 429, or a 503 with `Retry-After`, closes the gate of its host. It never opens one earlier: requests
   * that were on their way together are told differently, and who said the longest meant it.
   */
  hear(host: string, answer: { status: number; header(name: string): string | undefined }): void {
    const toldMs = retryAfterMs(answer);
    if (answer.status !== 429 && (answer.status !== 503 || toldMs === undefined)) return;
    const waitMs = Math.min(toldMs ?? UNTOLD_WAIT_MS, MAX_GATE_MS);
    if (waitMs > this.#until.leftMs(host)) this.#until.set(host, waitMs);
  }

  /** Waits while the gate of the host is closed, for `maxMs` at most: if it takes longer, `registry_unavailable` at once, with `retryAfterS`. */
  async pass(host: string, maxMs: number, signal: AbortSignal): Promise<void> {
    for (let leftMs = this.#until.leftMs(host); leftMs > 0; leftMs = this.#until.leftMs(host)) {
      if (leftMs > maxMs) throw closed(host, leftMs);
      await sleep(Math.ceil(leftMs), undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

/**
 * Milliseconds of `Retry-After: 120` or `Retry-After: Wed, 21 Oct 2026 07:28:00 GMT` (RFC 9110, section 10.2.3); undefined without
 * one that can be read. A moment is measured from the answer's own `Date`, so that the two clocks need not agree.
 */
export function retryAfterMs({ header }: { header(name: string): string | undefined }): number | undefined {
  const text = header("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const moment = /GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(moment)) return undefined;
  const sent = Date.parse(header("date") ?? "");
  return Math.max(0, moment - (Number.isNaN(sent) ? Date.now() : sent));
}

function closed(host: string, leftMs: number): MayflyError {
  const retryAfterS = Math.ceil(leftMs / 1_000);
  return new MayflyError("registry_unavailable", `${host} wants no request for another ${retryAfterS} s`, {
    details: { host, retryAfterS },
  });
}
