// How far a batch is, as one line that is drawn again in its place, on a terminal; and as words.

import type { Batch } from "../core/batch.ts";
import type { Io } from "./io.ts";

const BAR_WIDTH = 20;
/** More often nobody sees. */
const EVERY_MS = 200;
const CLEAR = "\r\u001b[K";

export function progressLine({ progress, counts, estimatedSeconds, state }: Batch): string {
  const full = Math.floor(progress * BAR_WIDTH);
  const over = counts.succeeded + counts.failed + counts.cancelled;
  const facts = [
    `${over}/${counts.total}`,
    counts.running > 0 ? `${counts.running} running` : "",
    counts.failed > 0 ? `${counts.failed} failed` : "",
    estimatedSeconds === undefined ? "" : `${estimatedSeconds} s left`,
    state === "running" ? "" : state,
  ];
  return `[${"#".repeat(full)}${".".repeat(BAR_WIDTH - full)}] ${facts.filter((fact) => fact !== "").join(", ")}`;
}

/** Draws nothing where there is no terminal. */
export class ProgressBar {
  readonly #io: Pick<Io, "stderr" | "terminal">;
  #isDrawn = false;
  #atMs = Number.NEGATIVE_INFINITY;

  constructor(io: Pick<Io, "stderr" | "terminal">) {
    this.#io = io;
  }

  /** Now, or not at all if the last time was just before. */
  async draw(batch: () => Batch | Promise<Batch>): Promise<void> {
    if (!this.#io.terminal.isOutput || performance.now() - this.#atMs < EVERY_MS) return;
    this.#atMs = performance.now();
    await this.#io.stderr.write(`${CLEAR}${progressLine(await batch())}`);
    this.#isDrawn = true;
  }

  /** Before something else is written. */
  async clear(): Promise<void> {
    if (this.#isDrawn) await this.#io.stderr.write(CLEAR);
    this.#isDrawn = false;
  }
}
