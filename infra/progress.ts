// Shows how a stack comes up. On a terminal what is under way is in one live line below what is done; elsewhere each step
// is a line when it is done.

import type { Progress } from "./stack.ts";

export interface Screen {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const ERASE_LINE = "\r\u001b[K";
const STEP_WIDTH = 10;

export class ProgressView {
  readonly #screen: Screen;
  readonly #underWay = new Set<string>();

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  show(progress: Progress): void {
    if (progress.kind === "begin") this.#underWay.add(progress.step);
    if (progress.kind === "done") this.#underWay.delete(progress.step);
    this.#draw(lineOf(progress));
  }

  /** A line of its own, above what is under way. */
  print(line: string): void {
    this.#draw(line);
  }

  /** Nothing is under way any more, whether it was done or not. */
  clear(): void {
    this.#underWay.clear();
    this.#draw(undefined);
  }

  #draw(line: string | undefined): void {
    const isLive = this.#screen.isTTY === true;
    const live = isLive && this.#underWay.size > 0 ? `  … ${[...this.#underWay].join(", ")}` : "";
    const text = (isLive ? ERASE_LINE : "") + (line === undefined ? "" : `${line}\n`) + live;
    if (text !== "") this.#screen.write(text);
  }
}

function lineOf(progress: Progress): string | undefined {
  if (progress.kind === "note") return `  ! ${progress.text}`;
  if (progress.kind === "begin") return undefined;
  const { step, ms, detail } = progress;
  return `  ✓ ${step.padEnd(STEP_WIDTH)}${formatMs(ms)}  ${detail}`.trimEnd();
}

/** `   42 ms`, in a column. */
export function formatMs(ms: number): string {
  return `${Math.round(ms)} ms`.padStart(9);
}
