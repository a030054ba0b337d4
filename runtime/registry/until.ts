// Names that something holds for until a moment: a host that asks us to wait, a mirror that is left in peace.

import { monotonicMs } from "../../core/clock.ts";

/** Foreign hosts choose the names, so their number is bounded; the oldest goes first. */
const MAX_NAMES = 1024;

export class Until {
  readonly #moments = new Map<string, number>();

  /** From now on, for this long; what was said before of the name is forgotten. */
  set(name: string, ms: number): void {
    this.#moments.delete(name);
    this.#moments.set(name, monotonicMs() + ms);
    for (const oldest of this.#moments.keys()) if (this.#moments.size > MAX_NAMES) this.#moments.delete(oldest);
  }

  /** Milliseconds, 0 if the moment is over or none was set. */
  leftMs(name: string): number {
    return Math.max(0, (this.#moments.get(name) ?? 0) - monotonicMs());
  }
}
