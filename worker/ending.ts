// Why an attempt is brought to an end from outside. The first reason wins; the program's own end is not one of these.

import type { Clock } from "../core/run.ts";

export type EndReason =
  | { readonly kind: "cancelled" }
  | { readonly kind: "timed_out"; readonly clock: Clock; readonly limitMs: number }
  /** The hold on the run is over, or will be before it could be renewed: another host may have it. */
  | { readonly kind: "lease_lost" }
  /** This worker stops, and has waited as long as it may. */
  | { readonly kind: "drained" };

export class Ending {
  readonly #controller = new AbortController();
  readonly #hurry = new AbortController();
  readonly #abandon = new AbortController();
  #reason: EndReason | undefined;
  #settled = false;

  get reason(): EndReason | undefined {
    return this.#reason;
  }

  /** Aborts when there is a reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The program has ended by itself: no reason counts any more. */
  settle(): void {
    this.#settled = true;
  }

  /** Aborts when what is left of a grace is not to be waited for. */
  get hurried(): AbortSignal {
    return this.#hurry.signal;
  }

  hurry(): void {
    this.#hurry.abort();
  }

  /** Aborts when this worker leaves, whatever the reason was before: nothing more is waited for or collected. */
  get abandoned(): AbortSignal {
    return this.#abandon.signal;
  }

  abandon(): void {
    this.#abandon.abort();
    this.because({ kind: "drained" });
  }

  because(reason: EndReason): void {
    if (this.#reason || this.#settled) return;
    this.#reason = reason;
    this.#controller.abort(reason);
  }

  /** Starts a clock; returns the way to stop it. */
  after(clock: Clock, limitMs: number): () => void {
    const timer = setTimeout(() => this.because({ kind: "timed_out", clock, limitMs }), limitMs);
    return () => clearTimeout(timer);
  }
}
