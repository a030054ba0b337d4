// One container behind a shim: the shim's events turned into a Sandbox.

import { readFile, rm } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { monotonicMs } from "../../core/clock.ts";
import { isErrno, MayflyError } from "../../core/errors.ts";
import { limitPids, readUsage, removeCgroup } from "../cgroup/cgroup.ts";
import type { CgroupLayout } from "../cgroup/layout.ts";
import { END_SIGNAL } from "./end-signal.ts";
import { requestRefused } from "./request-refused.ts";
import type { ProcessEnd, ProgramSignal, Sandbox, SandboxEnd, TerminalSize } from "./sandbox.ts";
import { type ShimEvent, ShimProcess } from "./shim-process.ts";

/** How long a shim may take to end and remove its container before it is killed; `runc delete` itself takes 10 ms. */
const RELEASE_MS = 10_000;

export interface OciSandboxOptions {
  readonly argv: readonly [string, ...string[]];
  readonly bundle: string;
  /** Where the OCI runtime keeps its record of the container. */
  readonly runtimeState: string;
  readonly cgroupPath: string;
  /** Of the program and its init, to be set when the OCI runtime's own processes have left the cgroup. */
  readonly pidsLimit: number;
  readonly layout: CgroupLayout;
  readonly hasArtifacts: boolean;
}

export class OciSandbox implements Sandbox {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly artifacts: Readable | undefined;
  readonly ended: Promise<SandboxEnd>;
  readonly programEnded: Promise<void>;
  /** Resolves when the program has been started or has ended; rejects with why it was not. */
  readonly opened: Promise<void>;
  readonly #options: OciSandboxOptions;
  readonly #shim: ShimProcess;
  readonly #opened = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<SandboxEnd>();
  readonly #collecting = Promise.withResolvers<void>();
  #createdAtMs = 0;
  #startedAtMs: number | undefined;
  #over = false;
  #closing: Promise<void> | undefined;

  constructor(options: OciSandboxOptions) {
    this.#options = options;
    this.opened = this.#opened.promise;
    this.ended = this.#ended.promise;
    this.ended.catch(() => {}); // Whoever awaits `ended` is told; nobody has to.
    this.opened.catch(() => {});
    this.programEnded = Promise.race([this.#collecting.promise, this.ended.then(() => {})]);
    this.programEnded.catch(() => {});
    this.#shim = new ShimProcess(options.argv, (event) => this.#on(event), options);
    ({ stdin: this.stdin, stdout: this.stdout, stderr: this.stderr, artifacts: this.artifacts } = this.#shim);
  }

  get programStarted(): boolean {
    return this.#startedAtMs !== undefined;
  }

  get startMs(): number {
    return this.#startedAtMs === undefined ? 0 : this.#startedAtMs - this.#createdAtMs;
  }

  extend(ms: number): void {
    this.#shim.tell(`deadline ${Math.max(0, Math.floor(ms))}`);
  }

  signal(signal: ProgramSignal): void {
    this.#shim.tell(`signal ${constants.signals[signal]}`);
  }

  resize({ rows, columns }: TerminalSize): void {
    this.#shim.tell(`resize ${rows} ${columns}`);
  }

  killProgram(): void {
    if (this.artifacts && this.programStarted) this.#shim.tell(`signal ${END_SIGNAL}`);
    else this.kill();
  }

  kill(): void {
    this.#shim.tell("kill");
  }

  close(): Promise<void> {
    this.#closing ??= this.#remove();
    return this.#closing;
  }

  #on(event: ShimEvent): void {
    switch (event.kind) {
      case "created":
        this.#createdAtMs = monotonicMs();
        return;
      case "started":
        this.#startedAtMs = monotonicMs();
        return this.#opened.resolve(this.#limitPids());
      case "collecting":
        return this.#collecting.resolve();
      case "ended":
        this.#over = true;
        this.#opened.resolve(); // 127 and 126 come without a start.
        return this.#ended.resolve(this.#collect(event.process));
      case "failed":
        this.#over = true;
        return this.#fail(this.#explain(event.stage, event.message));
      case "gone":
        this.#over = true;
        return this.#fail(Promise.resolve(new MayflyError("host_unavailable", "the sandbox's shim was lost")));
      case "released":
        return;
    }
  }

  /** A program that has ended meanwhile has no cgroup to limit, or needs none. */
  async #limitPids(): Promise<void> {
    const { layout, cgroupPath, pidsLimit } = this.#options;
    await limitPids(layout, cgroupPath, pidsLimit).catch((error) => {
      if (!isErrno(error, "ENOENT", "ENODEV"))
        throw new MayflyError("host_unavailable", "the limit of processes cannot be set", { cause: error });
    });
  }

  /** A promise that is settled already stays as it is. */
  #fail(why: Promise<MayflyError>): void {
    const rejected = why.then((error) => Promise.reject(error));
    rejected.catch(() => {}); // It may find both settled.
    this.#opened.resolve(rejected);
    this.#ended.resolve(rejected);
  }

  async #collect(process: ProcessEnd): Promise<SandboxEnd> {
    return { process, usage: await readUsage(this.#options.layout, this.#options.cgroupPath) };
  }

  async #explain(stage: string, message: string): Promise<MayflyError> {
    const refusal = requestRefused(stage, message);
    if (refusal) return refusal;
    const log = await readFile(join(this.#options.bundle, "runtime.log"), "utf8").catch(() => "");
    const why = log.trim().split("\n").at(-1) ?? "";
    return new MayflyError("host_unavailable", [message, why].filter(Boolean).join(": "), { details: { stage } });
  }

  async #remove(): Promise<void> {
    const overdue = setTimeout(() => this.#shim.destroy(), RELEASE_MS);
    if (!this.#over) this.kill();
    // Whether it ended well or not is no longer asked here; only that it has.
    await this.ended.catch(() => {});
    this.#shim.tell("release");
    this.stdin.destroy();
    await this.#shim.gone;
    clearTimeout(overdue);
    this.stdout.destroy();
    this.stderr.destroy();
    this.artifacts?.destroy();
    await removeCgroup(this.#options.layout, this.#options.cgroupPath);
    await rm(this.#options.runtimeState, { recursive: true, force: true }); // Of a shim that was killed.
    await rm(this.#options.bundle, { recursive: true, force: true });
  }
}
