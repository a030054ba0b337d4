// The one place of the runtime that starts processes.
//
// `spawn` blocks Node's event loop while the kernel copies the process (1 ms at 52 MiB resident, 11 ms at 250 MiB), so
// callers start few processes and long-lived ones: one a layer that is unpacked, one a sandbox.

import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { MayflyError } from "../../core/errors.ts";

/** The most of a program's stderr that is kept to explain its failure. */
const STDERR_TAIL_BYTES = 2048;

/** Debian's own search path for root: what is installed decides, not the environment that Mayfly was started with. */
export const SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Starts a program with an environment of its own: nothing of ours is inherited. */
export function startProcess(argv: readonly [string, ...string[]], options: SpawnOptions = {}): ChildProcess {
  const [program, ...args] = argv;
  return spawn(program, args, { ...options, env: { PATH: SEARCH_PATH, ...options.env } });
}

export interface Finished {
  readonly exitCode: number;
  readonly signal: NodeJS.Signals | null;
  /** The last 2 KiB of stderr, as text. */
  readonly stderrTail: string;
}

/** Resolves when the program has ended and its pipes are closed. Rejects only if it could not be started. */
export function finished(child: ChildProcess): Promise<Finished> {
  const tail = new Tail(STDERR_TAIL_BYTES);
  child.stderr?.on("data", (chunk: Buffer) => tail.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ exitCode: code ?? -1, signal, stderrTail: tail.text() }));
  });
}

/** Runs a program to its end; a failure is `host_unavailable` with its argv and the tail of its stderr. */
export async function runProgram(argv: readonly [string, ...string[]]): Promise<string> {
  const child = startProcess(argv, { stdio: ["ignore", "pipe", "pipe"] });
  const output: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  const end = await finished(child);
  if (end.exitCode !== 0) throw programFailed(argv, end);
  return Buffer.concat(output).toString("utf8");
}

export function programFailed(argv: readonly string[], end: Finished): MayflyError {
  const how = end.signal ? `was killed by ${end.signal}` : `exited ${end.exitCode}`;
  return new MayflyError("host_unavailable", `${argv[0]} ${how}: ${end.stderrTail.trim()}`, {
    details: { argv: argv.join(" ") },
  });
}

class Tail {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-this.#limit);
  }

  text(): string {
    return this.#bytes.toString("utf8");
  }
}
