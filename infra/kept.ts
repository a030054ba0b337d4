// A stack that outlives the quickstart: start.ts as a detached process, the one parent of all others, stopped by one kill.

import { type ChildProcess, fork } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { type Endpoints, type Progress, type StackOptions, stateDirectory } from "./stack.ts";

/** What start.ts tells its parent. */
export type Report =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "ready"; readonly endpoints: Endpoints }
  | { readonly kind: "failed"; readonly message: string };

/** What the parent tells it before it leaves; a parent that is gone without a word takes the stack with it. */
export const STAY = "stay";

/** Of what a stack needs for stopping, its worker's draining is the most. The one here has run nothing for long. */
const STOP_MS = 60_000;

export class KeptStack {
  readonly #options: StackOptions;
  #child: ChildProcess | undefined;

  constructor(options: StackOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** As a stack's. */
  start(): Promise<Endpoints> {
    const { env } = this.#options;
    const logDir = join(stateDirectory(env), "log");
    mkdirSync(logDir, { recursive: true, mode: 0o700 });
    const log = openSync(join(logDir, "stack.log"), "w", 0o600);
    const child = fork(join(import.meta.dirname, "start.ts"), {
      env,
      detached: true,
      stdio: ["ignore", log, log, "ipc"],
    });
    closeSync(log);
    this.#child = child;
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the stack's process exited ${code}; see ${logDir}/stack.log`)));
      child.on("message", (report: Report) => {
        if (report.kind === "progress") this.#options.onProgress(report.progress);
        if (report.kind === "ready") resolve(report.endpoints);
        if (report.kind === "failed") reject(new Error(report.message));
      });
    });
  }

  /** From here on it lives without us. */
  async leave(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    await new Promise((resolve) => child.send(STAY, resolve));
    child.disconnect();
    child.unref();
  }

  /** As a stack's. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const limit = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await gone;
    clearTimeout(limit);
  }
}
