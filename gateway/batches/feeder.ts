// Feeds batches into the queue, and stops those that are to be stopped. Every gateway does this: whatever is done to a batch is done in
// scripts, and what is due stands in Redis, so one that dies leaves nothing undone.

import { Bell } from "../../core/bell.ts";
import { monotonicMs } from "../../core/clock.ts";
import { isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { BatchStore } from "../dispatch/batch-store.ts";

/** How often to look where nothing was said: a message may be lost, and moments come that nobody tells of. */
const POLL_MS = 500;

export class Feeder {
  readonly #store: Pick<BatchStore, "due" | "step">;
  readonly #log: Log;
  readonly #bell = new Bell();
  /** Batches that were told of; what was not is found by looking. */
  readonly #told = new Set<string>();
  #stopping = false;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #loop: Promise<void> | undefined;

  constructor(store: Pick<BatchStore, "due" | "step">, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Something is to be done about this batch. */
  tell(id: string): void {
    if (this.#told.size < MAX_TOLD) this.#told.add(id);
    this.#bell.ring();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await this.#round().catch((error) => this.#report(error));
      if (this.#told.size > 0) continue; // Between two rounds others have their turn: a step is a round trip.
      const timer = setTimeout(() => this.#bell.ring(), POLL_MS);
      await this.#bell.wait();
      clearTimeout(timer);
    }
  }

  /** A step for each of those that were told of, and now and then for those that are due; what has more to do comes again after the others. */
  async #round(): Promise<void> {
    const ids = new Set(this.#told);
    this.#told.clear();
    if (monotonicMs() - this.#lookedMs >= POLL_MS) {
      for (const id of await this.#store.due()) ids.add(id);
      this.#lookedMs = monotonicMs();
    }
    for (const id of ids) if (await this.#step(id)) this.#told.add(id);
  }

  /** One that fails holds up no other, and is due again. */
  async #step(id: string): Promise<boolean> {
    try {
      return await this.#store.step(id);
    } catch (error) {
      this.#report(error, id);
      return false;
    }
  }

  #report(error: unknown, batch?: string): void {
    if (isMayflyError(error) && error.reason === "queue_unavailable") return; // Told by whoever is asked for something.
    this.#log.error("batch.feed_failed", { batch, error });
  }
}

const MAX_TOLD = 1_000;
