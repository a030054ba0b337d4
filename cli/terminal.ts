// The terminal that this command runs at: whether there is one, how large it is, and its raw mode.

import type { Readable, Writable } from "node:stream";
import { TERMINAL_BOUNDS, type TerminalSize } from "../core/control.ts";

export interface Terminal {
  /** stdin is a terminal. */
  readonly isInput: boolean;
  /** stdout is one. */
  readonly isOutput: boolean;
  /** Of stdout; 24 × 80 if it is no terminal, or one that does not know. Always a size that the API takes. */
  size(): TerminalSize;
  /** Calls the listener at each change of the size. Returns the way to stop. */
  onResize(listener: () => void): () => void;
  /** Keys come as bytes, one by one, unseen and without a meaning: Ctrl-C is 0x03. Off, it is as it was. Safe to repeat. */
  setRaw(on: boolean): void;
}

/** What Node's terminal streams add to others. */
interface TerminalInput extends Readable {
  setRawMode?(on: boolean): unknown;
}
interface TerminalOutput extends Writable {
  readonly rows?: number;
  readonly columns?: number;
}

export interface TerminalStreams {
  readonly isInput: boolean;
  readonly isOutput: boolean;
  /** A function, since merely looking at a process' stdin opens it. */
  readonly stdin: () => TerminalInput;
  readonly stdout: TerminalOutput;
}

const USUAL: TerminalSize = { rows: 24, columns: 80 };

export function createTerminal({ isInput, isOutput, stdin, stdout }: TerminalStreams): Terminal {
  let isRaw = false;
  return {
    isInput,
    isOutput,
    size: () => ({
      rows: withinBounds(stdout.rows) ?? USUAL.rows,
      columns: withinBounds(stdout.columns) ?? USUAL.columns,
    }),
    onResize(listener) {
      stdout.on("resize", listener);
      return () => void stdout.off("resize", listener);
    },
    setRaw(on) {
      if (on === isRaw || !isInput) return;
      isRaw = on;
      stdin().setRawMode?.(on);
    },
  };
}

/** A pseudo-terminal that nobody has given a size has 0 rows. */
function withinBounds(side: number | undefined): number | undefined {
  return side === undefined || side < TERMINAL_BOUNDS.min ? undefined : Math.min(side, TERMINAL_BOUNDS.max);
}
