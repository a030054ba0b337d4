// A time limit that can be moved on while the work makes progress.

/** Thrown into work that has made no progress for too long. */
export class TimeLimitError extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
    this.name = "TimeLimitError";
  }
}

/**
 * Aborts its `signal` when the caller's does, with the same reason, or when the time last allowed is over.
 * `stop` must be called when the work is done: it lets go of the timer and of the caller's signal. Idempotent.
 */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal;
  readonly #forward = () => this.#controller.abort(this.#caller.reason);
  #timer: NodeJS.Timeout | undefined;

  constructor(caller: AbortSignal) {
    this.#caller = caller;
    if (caller.aborted) this.#forward();
    else caller.addEventListener("abort", this.#forward, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now, the work may go on for this long without another call. */
  allow(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new TimeLimitError(ms)), ms);
  }

  /** Time does not count until the next `allow`: somebody else is at work. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#forward);
  }
}
