// A few lines of a terminal that are drawn again and again in their place.

import type { Io } from "./io.ts";

/** More often nobody sees. */
const EVERY_MS = 100;

const UP = (lines: number) => (lines === 0 ? "" : `\u001b[${lines}A\r`);
const CLEAR_BELOW = "\u001b[J";

export class Redraw {
  readonly #io: Pick<Io, "stdout">;
  #drawn = 0;
  #atMs = Number.NEGATIVE_INFINITY;

  constructor(io: Pick<Io, "stdout">) {
    this.#io = io;
  }

  /** Draws them now, or leaves it to the next time if the last was just before. */
  async draw(lines: () => readonly string[], { isLast = false } = {}): Promise<void> {
    if (!isLast && performance.now() - this.#atMs < EVERY_MS) return;
    const now = lines();
    await this.#io.stdout.write(`${UP(this.#drawn)}${CLEAR_BELOW}${now.map((line) => `${line}\n`).join("")}`);
    this.#drawn = now.length;
    this.#atMs = performance.now();
  }
}
