// Starts one of Mayfly's own processes and waits for the line of its log that says it is ready.

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startProcess } from "../../runtime/host/command.ts";

export const ROOT = join(import.meta.dirname, "../..");

export interface LogLine {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface MayflyProcess {
  readonly pid: number;
  readonly running: boolean;
  /** Every line of its log so far. */
  readonly lines: readonly LogLine[];
  /** The first line with this event, now or later. */
  logged(event: string): Promise<LogLine>;
  signal(signal: NodeJS.Signals): void;
  /** Sends the signal (SIGTERM) and resolves with the exit code, null if it was killed. Safe to repeat. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Rejects with the process's last lines if it ends before `readyEvent`. */
export async function startMayfly(
  main: string,
  readyEvent: string,
  env: Readonly<Record<string, string>>,
): Promise<MayflyProcess> {
  const child = startProcess([process.execPath, join(ROOT, main)], { env, stdio: ["ignore", "pipe", "inherit"] });
  const handle = new Handle(child);
  await handle.logged(readyEvent);
  return handle;
}

class Handle implements MayflyProcess {
  readonly lines: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #waiting = new Set<() => void>();
  #over = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "close").then(([code]) => code as number | null);
    this.#exited.then(() => {
      this.#over = true;
      this.#tellAll();
    });
    createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on("line", (line) => {
      this.lines.push(JSON.parse(line));
      this.#tellAll();
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get running(): boolean {
    return !this.#over;
  }

  async logged(event: string): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find((line) => line.event === event);
      if (found) return found;
      if (this.#over) throw new Error(`ended without ${event}: ${JSON.stringify(this.lines.slice(-3))}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (!this.#over) this.#child.kill(signal);
    return this.#exited;
  }

  #tellAll(): void {
    for (const tell of this.#waiting) tell();
    this.#waiting.clear();
  }
}
