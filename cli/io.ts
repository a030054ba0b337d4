// All that a command has of the process it runs in. main.ts makes the real one; tests make their own.

import type { Readable } from "node:stream";
import type { Env } from "./environment.ts";
import type { NewFile } from "./new-file.ts";
import { ReaderGone, type Sink } from "./sink.ts";
import { printable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface Io {
  readonly env: Env;
  /** A function, since merely looking at a process' stdin opens it. */
  readonly stdin: () => Readable;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly terminal: Terminal;
  readonly fetch: typeof globalThis.fetch;
  /** The text of a file; throws Node's error. */
  readonly readFile: (path: string) => string;
  /** The bytes of a file; fails with Node's error when it is read. */
  readonly openFile: (path: string) => Readable;
  /** See new-file.ts. */
  readonly createFile: (path: string) => Promise<NewFile>;
  readonly version: string;
  /** Has SIGINT, SIGTERM and SIGHUP told to the listener instead of ending the process, until the returned function is called. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  /**
   * Goes on as another of Mayfly's programs, a file, in this one's place: its exit code is this command's, and so are signals and
   * the terminal its. Rejects with Node's error if there is no such file.
   */
  readonly handOver: (program: string, args: readonly string[]) => Promise<number>;
  /** Ends the process at once, whatever is under way. */
  readonly exitNow: (exitCode: number) => void;
}

/** A line for the person at the terminal. Nobody may be there, and that changes nothing. */
export const note = (io: Pick<Io, "stderr">, message: string): Promise<void> =>
  tell(io, `mayfly: ${message.split("\n").map(printable).join("\n")}\n`);

/** The same for a program: an error with `--json`. */
export const noteJson = (io: Pick<Io, "stderr">, value: unknown): Promise<void> => tell(io, `${jsonText(value)}\n`);

/** One JSON document on one line: what `--json` prints, for each thing it tells of. */
export async function printJson(io: Pick<Io, "stdout">, value: unknown): Promise<void> {
  await io.stdout.write(`${jsonText(value)}\n`);
}

/** As JSON.stringify, which leaves the upper control characters as they are: a terminal would obey them. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}

async function tell(io: Pick<Io, "stderr">, text: string): Promise<void> {
  try {
    await io.stderr.write(text);
  } catch (error) {
    if (!(error instanceof ReaderGone)) throw error;
  }
}
