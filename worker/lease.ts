// This host's hold on one run, renewed while the run lasts. Whoever cannot renew must let go: on this host the sandbox's
// own deadline sees to it, even if the worker is stopped in its tracks.

import { monotonicMs } from "../core/clock.ts";
import { LEASE_MS } from "../core/offer.ts";
import { FENCE_MARGIN_MS, RENEW_MS } from "../core/transitions.ts";
import type { Ending } from "./ending.ts";
import type { Held } from "./run-store.ts";

export interface LeaseOptions {
  /** When the hold was taken, on the monotonic clock: before the question was sent, never after the answer came. */
  readonly takenAtMs: number;
  readonly renew: () => Promise<Held>;
  readonly ending: Ending;
}

export class Lease {
  readonly #options: LeaseOptions;
  readonly #timer: NodeJS.Timeout;
  #heldAtMs: number;
  #renewing = false;
  #extend: ((ms: number) => void) | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#heldAtMs = options.takenAtMs;
    this.#timer = setInterval(() => void this.#beat(), RENEW_MS);
    // A run that was handed over while this process stood still may be another host's by now.
    if (this.remainingMs <= 0) options.ending.because({ kind: "lease_lost" });
  }

  /** How long a sandbox may live without another renewal. Ends before the lease itself, so that it is dead by then. */
  get remainingMs(): number {
    return this.#heldAtMs + LEASE_MS - FENCE_MARGIN_MS - monotonicMs();
  }

  /** From now on every renewal is passed on as a new deadline. */
  guard(extend: (ms: number) => void): void {
    this.#extend = extend;
    extend(this.remainingMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    if (this.remainingMs <= 0) return this.#options.ending.because({ kind: "lease_lost" });
    if (this.#renewing) return; // Redis is slow or away; one question at a time.
    this.#renewing = true;
    const askedAtMs = monotonicMs();
    try {
      this.#hear(await this.#options.renew(), askedAtMs);
    } catch {
      // Not renewed; the next beat tries again, and the deadline stands.
    } finally {
      this.#renewing = false;
    }
  }

  #hear(answer: Held, askedAtMs: number): void {
    if (answer === "lost") return this.#options.ending.because({ kind: "lease_lost" });
    if (answer === "force-cancel") this.#options.ending.hurry(); // First, so that there is no grace to begin with.
    if (answer !== "held") this.#options.ending.because({ kind: "cancelled" });
    this.#heldAtMs = askedAtMs;
    this.#extend?.(this.remainingMs);
  }
}
