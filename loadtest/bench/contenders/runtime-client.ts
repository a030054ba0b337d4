// The benchmark's end of its runtime process: starts it, calls it, and stops it within a limit.

import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { environmentOf } from "../../../infra/settings.ts";
import type { Workshop } from "../workshop.ts";
import type { Call, CallName, Creation, Reply, RuntimeCalls } from "./runtime-calls.ts";

/** A thousand sleepers take minutes where a start takes long; nothing else comes near. */
const CALL_MS = 10 * 60_000;
const CLOSE_MS = 60_000;

export class RuntimeClient {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #serial = 0;
  #said = "";

  constructor() {
    this.#child = fork(join(import.meta.dirname, "runtime-process.ts"), {
      env: environmentOf([], process.env, {}),
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#said = (this.#said + chunk).slice(-2_000);
    });
    this.#gone = new Promise((resolve) => {
      this.#child.once("error", () => resolve());
      this.#child.once("exit", () => resolve());
    });
    void this.#gone.then(() => this.#failAll());
    this.#child.on("message", (reply: Reply) => this.#waiting.get(reply.id)?.(reply));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  call<N extends CallName>(name: N, input: RuntimeCalls[N]["in"]): Promise<RuntimeCalls[N]["out"]> {
    const id = ++this.#serial;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(
        () => settle({ id, error: `${name} was not over within ${CALL_MS / 60_000} min` }),
        CALL_MS,
      );
      const settle = (reply: Reply) => {
        clearTimeout(limit);
        this.#waiting.delete(id);
        if ("error" in reply) reject(new Error(reply.error));
        else resolve(reply.output as RuntimeCalls[N]["out"]);
      };
      this.#waiting.set(id, settle);
      const call: Call = { id, name, input };
      this.#child.send(call, (error) => error && settle({ id, error: error.message }));
    });
  }

  /** A runtime of its own in the workshop, with directories of its own, and the cgroup that its containers' are in. */
  async create(
    workshop: Workshop,
    blanks: Creation["blanks"],
  ): Promise<{ driver: string; cgroup: string; stateDir: string }> {
    // The runtime's cgroup is `mayfly-` and this name: beside the workshop's, which removes it if the runtime could not.
    const hostId = `${workshop.cgroup.replace(/^mayfly-/, "")}-${randomBytes(4).toString("hex")}`;
    const room = await workshop.room(hostId);
    const where = { stateDir: join(room, "state"), runDir: join(room, "run"), hostId };
    const { driver } = await this.call("create", { ...where, driver: workshop.driver, blanks });
    return { driver, cgroup: `mayfly-${hostId}`, stateDir: where.stateDir };
  }

  /** Closes what is open there, and ends the process. Never rejects: one that does not end is killed, and its sandboxes with it. */
  async stop(): Promise<void> {
    const limit = setTimeout(() => this.#child.kill("SIGKILL"), CLOSE_MS);
    await this.call("close", null).catch(() => {});
    if (this.#child.connected) this.#child.disconnect();
    await this.#gone;
    clearTimeout(limit);
  }

  #failAll(): void {
    for (const [id, settle] of this.#waiting)
      settle({ id, error: `the runtime's process has ended: ${this.#said.trim()}` });
  }
}
