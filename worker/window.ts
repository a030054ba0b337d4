// The size of a run's terminal, as the record has it: read whenever somebody says that there is another, and told to the sandbox.
//
// However often that is said while one size is read, it is read once more: many in a row are applied as the last.

import type { Bell } from "../core/bell.ts";
import type { TerminalSize } from "../core/control.ts";

export interface WindowOptions {
  /** The size that the terminal was made with. */
  readonly size: TerminalSize;
  /** The record's latest, if there is one. */
  readonly read: () => Promise<TerminalSize | undefined>;
  /** Rung when there may be another. */
  readonly bell: Bell;
  readonly resize: (size: TerminalSize) => void;
}

/** Until `signal` aborts. Looks at once: a size that came while the sandbox was made was told to nobody. */
export async function followWindow(options: WindowOptions, signal: AbortSignal): Promise<void> {
  const { read, bell, resize } = options;
  const ring = () => bell.ring();
  signal.addEventListener("abort", ring, { once: true });
  let { size } = options;
  while (!signal.aborted) {
    const latest = (await read()) ?? size;
    if (signal.aborted) return;
    if (latest.rows !== size.rows || latest.columns !== size.columns) resize(latest);
    size = latest;
    await bell.wait();
  }
}
