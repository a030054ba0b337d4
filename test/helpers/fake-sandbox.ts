// A sandbox without a container, for tests of the worker: its program is the test.

import { PassThrough } from "node:stream";
import type { ProcessEnd, Sandbox, SandboxEnd, TerminalSize } from "../../runtime/index.ts";

export const USAGE = { cpuMs: 5, throttledMs: 0, peakMemoryBytes: 1024, oomKills: 0 };
export const exited = (exitCode: number): ProcessEnd => ({ kind: "exited", exitCode });

export class FakeSandbox implements Sandbox {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly startMs = 1;
  programStarted = true;
  readonly signals: string[] = [];
  readonly sizes: TerminalSize[] = [];
  artifacts: PassThrough | undefined;
  readonly ended: Promise<SandboxEnd>;
  readonly programEnded: Promise<void>;
  onSignal: (signal: string) => void = () => {};
  closes = 0;
  closing: () => Promise<void> = async () => {};
  readonly #end = Promise.withResolvers<SandboxEnd>();
  readonly #collecting = Promise.withResolvers<void>();

  constructor() {
    this.ended = this.#end.promise;
    this.ended.catch(() => {});
    this.programEnded = Promise.race([this.#collecting.promise, this.ended.then(() => {})]);
    this.programEnded.catch(() => {});
  }

  /** The program has ended, and its artifacts are still to come. */
  collect(): void {
    this.#collecting.resolve();
  }

  end(process: ProcessEnd = exited(0), usage: SandboxEnd["usage"] = USAGE): void {
    this.stdout.end();
    this.stderr.end();
    this.artifacts?.end();
    this.#end.resolve({ process, usage });
  }

  lose(error: Error): void {
    this.stdout.end();
    this.stderr.end();
    this.#end.reject(error);
  }

  extend(): void {}

  signal(signal: string): void {
    this.signals.push(signal);
    this.onSignal(signal);
  }

  resize(size: TerminalSize): void {
    this.sizes.push(size);
  }

  killProgram(): void {
    this.kill();
  }

  kill(): void {
    this.signals.push("SIGKILL");
    this.end({ kind: "signaled", signal: "SIGKILL" });
  }

  async close(): Promise<void> {
    this.closes++;
    this.end({ kind: "signaled", signal: "SIGKILL" });
    this.stdin.destroy();
    await this.closing();
  }
}
