// A sender that is alive and still of no use: one that sends a byte now and then, so that no idle limit is ever over.

/** Thrown into a body that comes too slowly. */
export class TooSlowError extends Error {
  constructor(bytesPerS: number, minBytesPerS: number) {
    super(`the body comes at ${Math.round(bytesPerS)} bytes/s, less than ${minBytesPerS}`);
    this.name = "TooSlowError";
  }
}

/** Adds up what came and how long it was waited for; each time a window of waiting is full, its average must reach the minimum. */
export class RateFloor {
  readonly #minBytesPerS: number;
  readonly #windowMs: number;
  #waitedMs = 0;
  #bytes = 0;

  constructor(minBytesPerS: number, windowMs: number) {
    this.#minBytesPerS = minBytesPerS;
    this.#windowMs = windowMs;
  }

  /** Throws TooSlowError. Only the time that the sender took counts, not the reader's own. */
  add(bytes: number, waitedMs: number): void {
    this.#bytes += bytes;
    this.#waitedMs += waitedMs;
    if (this.#waitedMs < this.#windowMs) return;
    const bytesPerS = (this.#bytes * 1_000) / this.#waitedMs;
    if (bytesPerS < this.#minBytesPerS) throw new TooSlowError(bytesPerS, this.#minBytesPerS);
    this.#waitedMs = 0;
    this.#bytes = 0;
  }
}
