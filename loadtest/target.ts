// Where the load goes: a gateway, and an image that its workers can pull. By default a whole stack of the load test's own, in a
// state directory that is removed at the end.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pushBusybox } from "../infra/image.ts";
import type { Environment } from "../infra/settings.ts";
import { type Progress, Stack } from "../infra/stack.ts";
import type { HostUnderLoad } from "./traces.ts";

export interface Target {
  readonly url: string;
  readonly image: string;
  /** Of a stack of our own: what to ask the kernel about. */
  readonly host?: HostUnderLoad;
}

export interface LocalStackOptions {
  /** The caller's: its settings hold where the scenario has none of its own. */
  readonly env: Environment;
  readonly settings: Readonly<Record<string, string>>;
  readonly onProgress: (progress: Progress) => void;
}

export class LocalStack {
  readonly #stateDir: string;
  readonly #hostId = `loadtest-${process.pid}`;
  readonly #stack: Stack;

  private constructor(stateDir: string, { env, settings, onProgress }: LocalStackOptions) {
    this.#stateDir = stateDir;
    const own = { MAYFLY_STATE_DIR: stateDir, MAYFLY_HOST_ID: this.#hostId };
    this.#stack = new Stack({ env: { ...env, ...settings, ...own }, onProgress });
  }

  /** Makes its state directory, and nothing more yet. */
  static make(options: LocalStackOptions): LocalStack {
    return new LocalStack(mkdtempSync(join(tmpdir(), "mayfly-loadtest-")), options);
  }

  /** Resolves when runs are accepted and the image is there. Rejects with the reason; `stop` is still to be called. */
  async start(): Promise<Target> {
    const { gateway, registry } = await this.#stack.start();
    const image = await pushBusybox({ registry, directory: join(this.#stateDir, "image") });
    const pids = { gateway: this.#pidOf("gateway"), worker: this.#pidOf("worker") };
    return { url: gateway, image, host: { hostId: this.#hostId, stateDir: join(this.#stateDir, "worker"), pids } };
  }

  /** Rejects when a process of the stack dies by itself. */
  watch(): Promise<never> {
    return this.#stack.watch();
  }

  /** Safe to repeat; the second time it does not wait for what is under way. */
  async stop(): Promise<void> {
    await this.#stack.stop();
    rmSync(this.#stateDir, { recursive: true, force: true });
  }

  /** Of a file `PID START`, as infra/place.ts keeps one for each process. */
  #pidOf(name: string): number {
    return Number(readFileSync(join(this.#stateDir, "pid", name), "utf8").split(" ")[0]);
  }
}
