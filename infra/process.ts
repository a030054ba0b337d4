// One process of the stack: started with a log file, waited for, stopped.
//
// It runs in a session of its own, so that Ctrl-C reaches only us, who stop the stack in order. Should we be killed
// outright, the kernel sends it SIGTERM; what even that does not reach, the next stack finds (leftovers.ts).

import { type ChildProcess, spawn } from "node:child_process";
import { LogFile } from "./log-file.ts";
import { waitUntil, withLimit } from "./wait.ts";

export interface Program {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** All of its environment: nothing of ours is added. */
  readonly env: Readonly<Record<string, string>>;
  readonly logPath: string;
}

export type LoggedEvent = Readonly<Record<string, unknown>>;

/** How many lines of its log explain a process that failed. */
const TAIL_LINES = 12;

/** How long after its exit what it has printed is still read. */
const MAX_LAST_WORDS_MS = 250;

const alive = new Set<ChildProcess>();

export class Process {
  readonly name: string;
  readonly pid: number;
  /** Resolves when it is gone, with how: `exited 1`, `was ended by SIGKILL`, `could not be started: …`. */
  readonly gone: Promise<string>;
  /** Rejects when it is gone without having been asked to go; the reason carries the last lines of its log. */
  readonly died: Promise<never>;
  readonly #child: ChildProcess;
  readonly #log: LogFile;
  readonly #listeners = new Map<string, (event: LoggedEvent) => void>();
  #unread = "";
  #isStopping = false;
  #limit: NodeJS.Timeout | undefined;

  constructor(program: Program) {
    this.name = program.name;
    this.#log = new LogFile(program.logPath);
    this.#child = start(program);
    this.pid = this.#child.pid ?? 0;
    this.#child.stdout?.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#log.write(chunk));
    this.gone = ended(this.#child);
    this.died = this.gone.then((how) => {
      throw this.#isStopping ? new Error(`${this.name} was stopped`) : this.#failure(how);
    });
    this.died.catch(() => {}); // Whoever needs to know it awaits it.
    this.gone.then(() => this.#log.close());
  }

  /** The first event of this name in its log from now on, such as `worker.ready`. Rejects if the process dies first. */
  event(name: string, limitMs: number): Promise<LoggedEvent> {
    const seen = new Promise<LoggedEvent>((resolve) => this.#listeners.set(name, resolve));
    const late = () => this.#failure(`has not said ${name} within ${limitMs / 1000} s`);
    return withLimit(Promise.race([seen, this.died]), limitMs, late).finally(() => this.#listeners.delete(name));
  }

  /** Resolves when `probe` no longer throws. Rejects if that takes too long, or if the process dies first. */
  answers(probe: () => Promise<void>, limitMs: number): Promise<void> {
    const late = (last: Error) => this.#failure(`does not answer within ${limitMs / 1000} s: ${last.message}`);
    return waitUntil(probe, { limitMs, late, unless: this.died });
  }

  /**
   * SIGTERM, and SIGKILL if it is still there after `limitMs`. Resolves when the process is gone.
   * Asked again, it tells the process again, and the new limit holds.
   */
  async stop(limitMs: number): Promise<void> {
    this.#isStopping = true;
    this.#child.kill("SIGTERM");
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.#child.kill("SIGKILL"), limitMs);
    await this.gone;
    clearTimeout(this.#limit);
  }

  #failure(what: string): Error {
    return new Error(`${this.name} ${what}; the end of ${this.#log.path}:\n${this.#log.tail(TAIL_LINES)}`);
  }

  #read(chunk: Buffer): void {
    this.#log.write(chunk);
    if (this.#listeners.size === 0) return; // Ready long since: its lines are for the log alone.
    const lines = (this.#unread + chunk.toString("utf8")).split("\n");
    this.#unread = lines.pop() ?? "";
    for (const line of lines) this.#hear(line);
  }

  #hear(line: string): void {
    const event = parseEvent(line);
    if (event) this.#listeners.get(String(event.event))?.(event);
  }
}

/** An event of a line such as `{"time":"…","level":"info","event":"worker.ready","host":"a"}`; other lines are not ours. */
export function parseEvent(line: string): LoggedEvent | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as LoggedEvent;
  } catch {
    return undefined; // A program may print what it likes.
  }
}

function start({ argv, env }: Program): ChildProcess {
  if (alive.size === 0) process.on("exit", killAll);
  const withDeathSignal = ["--pdeathsig", "TERM", "--", ...argv];
  const child = spawn("/usr/bin/setpriv", withDeathSignal, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  alive.add(child);
  return child;
}

function ended(child: ChildProcess): Promise<string> {
  return new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`could not be started: ${error.message}`));
    // `close` and not `exit`: what it printed last is in the log by then.
    child.once("close", (code, signal) => resolve(signal ? `was ended by ${signal}` : `exited ${code}`));
    child.once("exit", () => setTimeout(() => hangUp(child), MAX_LAST_WORDS_MS).unref());
  }).finally(() => {
    alive.delete(child);
    if (alive.size === 0) process.off("exit", killAll);
  });
}

/** A process that it left behind may hold its pipes open for ever. */
function hangUp(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** The last resort, when this process ends without having stopped what it started. */
function killAll(): void {
  for (const child of alive) child.kill("SIGKILL");
}
