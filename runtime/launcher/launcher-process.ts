// The launcher as this runtime has it: one that listens already, or one that is started here and started again when it is lost.
//
// One idea: a connection that is held open says whether there is a launcher. While it is open there is; when it closes, all
// sandboxes are dead (the launcher's end is theirs), and another is started, which first removes what the lost one left.

import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { startProcess } from "../host/command.ts";
import { FrameConnection } from "./frames.ts";

/** The pause before a lost launcher is started again, doubled each time up to the most; a minute of good health forgets it. */
const RESTART_MS = { first: 20, most: 1_000 };
const HEALTHY_MS = 60_000;
/** It waits up to 15 s for one that is ending, and removes what that left. */
const READY_MS = 30_000;
/** More than the launcher's own limit for ending its sandboxes. */
const STOP_MS = 10_000;

export interface LauncherProcessOptions {
  readonly socketPath: string;
  /** What starts it; undefined if somebody else (systemd) does. */
  readonly argv: readonly [string, ...string[]] | undefined;
  readonly log: Log;
}

export class LauncherProcess {
  readonly #options: LauncherProcessOptions;
  #child: ChildProcess | undefined;
  #watch: FrameConnection | undefined;
  #ready = Promise.withResolvers<void>();
  #isUp = false;
  #stopped = false;
  #restarting: Promise<void> | undefined;
  #restartMs = RESTART_MS.first;
  #lastLine = "";

  constructor(options: LauncherProcessOptions) {
    this.#options = options;
    this.#ready.promise.catch(() => {});
  }

  /** Resolves when there is a launcher. Rejects with `host_unavailable` and its last word if it cannot be started. */
  async start(): Promise<void> {
    if (!(await this.#connect())) await this.#launch();
    this.#keep();
  }

  /** Resolves when there is a launcher, at once or when it has been started again. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Of the launcher that was started here. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Ends the launcher if it was started here, and all its sandboxes with it. True if it was. */
  async stop(): Promise<boolean> {
    this.#stopped = true;
    this.#watch?.destroy();
    await this.#restarting;
    if (!this.#child) return false;
    await this.#end(this.#child);
    return true;
  }

  /** By its lifeline; one that does not heed it, by force. */
  async #end(child: ChildProcess): Promise<void> {
    child.stdin?.end();
    const overdue = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended(child);
    clearTimeout(overdue);
  }

  /** Whether somebody listens; then the connection is kept as the watch. */
  async #connect(): Promise<boolean> {
    const watch = new FrameConnection(this.#options.socketPath);
    try {
      await watch.connected();
    } catch {
      return false;
    }
    this.#watch = watch;
    this.#isUp = true;
    this.#ready.resolve();
    return true;
  }

  async #launch(): Promise<void> {
    const { argv, socketPath } = this.#options;
    if (this.#stopped) return;
    if (!argv) throw new MayflyError("host_unavailable", `no launcher listens at ${socketPath}`);
    const child = startProcess(argv, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    child.stdin?.on("error", () => {}); // Its end is told by `exit`.
    const isReady = this.#relay(child);
    const overdue = setTimeout(() => child.kill("SIGKILL"), READY_MS);
    const started = await Promise.race([isReady, ended(child).then(() => false)]);
    clearTimeout(overdue);
    if (this.#stopped) return void child.stdin?.end(); // Stopped meanwhile: nobody else ends it.
    if (started && (await this.#connect())) return;
    this.#child = undefined;
    throw new MayflyError("host_unavailable", `the launcher does not start: ${this.#lastLine}`);
  }

  /** Its lines are events of this process' log. Resolves with true at `launcher.ready`. */
  #relay(child: ChildProcess): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    if (!child.stdout) return Promise.resolve(false);
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#lastLine = line;
      const { event, level, ...fields } = parseLine(line);
      this.#options.log[level](event, fields);
      if (event === "launcher.ready") resolve(true);
    });
    return promise;
  }

  /** When the watch closes, the launcher is lost and another is started. */
  #keep(): void {
    const watch = this.#watch;
    if (!watch) return;
    const sinceMs = performance.now();
    watch.onClose = () => {
      if (this.#watch === watch) void this.#onLost(performance.now() - sinceMs);
    };
    if (!watch.isOpen) watch.onClose(); // It was lost before anybody listened.
  }

  async #onLost(afterMs: number): Promise<void> {
    this.#watch = undefined;
    this.#isUp = false;
    if (this.#stopped) return;
    this.#ready = Promise.withResolvers();
    this.#ready.promise.catch(() => {});
    this.#options.log.error("launcher.lost", { afterMs: Math.round(afterMs) });
    if (afterMs > HEALTHY_MS) this.#restartMs = RESTART_MS.first;
    if (this.#child) await this.#end(this.#child);
    this.#child = undefined;
    this.#restarting = this.#startAgain();
  }

  async #startAgain(): Promise<void> {
    while (!this.#stopped) {
      await delay(this.#restartMs);
      this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS.most);
      try {
        if (this.#stopped) return;
        return await this.start();
      } catch (error) {
        this.#options.log.error("launcher.not_started", { error });
      }
    }
  }
}

/** One line of the launcher's log, such as `{"time":…,"level":"info","event":"launcher.ready",…}`; anything else is kept as text. */
function parseLine(line: string): { event: string; level: "info" | "warn" | "error"; [field: string]: unknown } {
  try {
    const { time: _, ...fields } = JSON.parse(line);
    if (typeof fields.event === "string" && ["info", "warn", "error"].includes(fields.level)) return fields;
  } catch {
    // Not a line of its log: told below.
  }
  return { event: "launcher.said", level: "warn", line };
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
}
