// What was read from Redis a moment ago, and need not be read again for each request. Nothing that is given out was read longer ago than
// a bound that holds whatever happens; what is in use is read anew before that, beside the requests, so that none of them waits.

import { monotonicMs } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";

/** Nothing older is given out: so long a change may take to be seen everywhere, should its announcement be lost. */
export const MAX_AGE_MS = 3_000;
/** What is older is read again when it is next asked for. */
const REFRESH_MS = 1_000;
/** The one that was read longest ago goes first. */
const MAX_ENTRIES = 10_000;

interface Entry<T> {
  readonly value: T;
  readonly readAtMs: number;
}

export class Fresh<T extends object> {
  readonly #read: (name: string) => Promise<T | undefined>;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #reading = new Map<string, Promise<T | undefined>>();

  /** What is not there (`undefined`) is never remembered: names that nobody has are without number. */
  constructor(read: (name: string) => Promise<T | undefined>, now: () => number = monotonicMs) {
    this.#read = read;
    this.#now = now;
  }

  /** At once if it is known. Errors: those of `read`, and `queue_unavailable` if the answer is late. */
  get(name: string): T | undefined | Promise<T | undefined> {
    const entry = this.#entries.get(name);
    const ageMs = entry ? this.#now() - entry.readAtMs : Number.POSITIVE_INFINITY;
    if (!entry || ageMs > MAX_AGE_MS) return this.#readAnew(name);
    if (ageMs > REFRESH_MS) this.#readAnew(name).catch(() => {}); // Whoever asks when it is too old is told.
    return entry.value;
  }

  /** It has changed: also what is being read now may be what it was. */
  forget(name: string): void {
    this.#entries.delete(name);
    this.#reading.delete(name);
  }

  /** Changes may have been missed. */
  forgetAll(): void {
    this.#entries.clear();
    this.#reading.clear();
  }

  #readAnew(name: string): Promise<T | undefined> {
    const under = this.#reading.get(name);
    if (under) return under;
    const readAtMs = this.#now();
    const reading: Promise<T | undefined> = this.#read(name)
      .then((value) => {
        if (this.#now() - readAtMs > MAX_AGE_MS)
          throw new MayflyError("queue_unavailable", `Redis took longer than ${MAX_AGE_MS} ms`);
        if (this.#reading.get(name) === reading) this.#keep(name, value, readAtMs);
        return value;
      })
      .finally(() => {
        if (this.#reading.get(name) === reading) this.#reading.delete(name);
      });
    this.#reading.set(name, reading);
    return reading;
  }

  #keep(name: string, value: T | undefined, readAtMs: number): void {
    this.#entries.delete(name);
    if (value === undefined) return;
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
    this.#entries.set(name, { value, readAtMs });
  }
}
