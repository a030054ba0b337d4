// Sees to it that no state lasts for ever: runs that waited too long, runs whose host no longer renews its hold, runs that were put
// off until now, finished runs whose retention is over, uploads whose time is.
// Every gateway does this; each change is one atomic script, so it does not matter who comes first.

import { setTimeout as delay } from "node:timers/promises";
import { isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { RunStore } from "./run-store.ts";

/** How often to look, or when the next run is due if that is sooner. Adds at most this much to a lost run's lease; nothing on the path of a run waits for it. */
const SWEEP_MS = 1_000;

/** Is told of each run that was settled here; nothing depends on it. */
export type Settled = (id: string, answer: "finished" | "requeued") => Promise<void>;

export class Reaper {
  readonly #store: RunStore;
  readonly #pools: readonly string[];
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #settled: Settled;
  #loop: Promise<void> | undefined;

  constructor(store: RunStore, pools: readonly string[], log: Log, settled: Settled = async () => {}) {
    this.#settled = settled;
    this.#store = store;
    this.#pools = pools;
    this.#log = log;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#sweep().catch((error) => this.#report(error));
      await this.#store.kept.forgetDue().catch((error) => this.#report(error));
      await this.#store.uploads.sweep().catch((error) => this.#report(error));
      const dueMs = await this.#tend().catch((error) => this.#report(error));
      await delay(Math.min(SWEEP_MS, dueMs ?? SWEEP_MS), undefined, { signal }).catch(() => {}); // Aborted: the loop ends.
    }
  }

  async #sweep(): Promise<void> {
    for (const id of await this.#store.overdue()) {
      if (this.#stop.signal.aborted) return;
      // One that cannot be settled does not keep the others waiting.
      const answer = await this.#store.settleOverdue(id).catch((error) => this.#report(error, id));
      if (answer !== "finished" && answer !== "requeued") continue;
      this.#log.warn("run.overdue", { run: id, answer });
      await this.#settled(id, answer).catch((error) => this.#report(error, id));
    }
  }

  /** Answers in how many ms the next run is due, if there is one. */
  async #tend(): Promise<number | undefined> {
    let dueMs: number | undefined;
    for (const pool of this.#pools) dueMs = await this.#store.tend(pool);
    return dueMs;
  }

  /** Redis away is told by whoever is asked for something; once a second from here would only be noise. */
  #report(error: unknown, run?: string): undefined {
    if (isMayflyError(error) && error.reason === "queue_unavailable") return;
    this.#log.error("reaper.failed", { run, error });
  }
}
