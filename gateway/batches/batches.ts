// What the routes ask for: a batch filled, read, followed.

import type { BatchResult } from "../../core/batch.ts";
import { Bell } from "../../core/bell.ts";
import { MayflyError } from "../../core/errors.ts";
import type { BatchResults, Position } from "../dispatch/batch-results.ts";
import type { BatchStore } from "../dispatch/batch-store.ts";
import type { Signals } from "../dispatch/signals.ts";
import type { ItemRules } from "./item-request.ts";

export interface BatchesOptions {
  readonly store: BatchStore;
  readonly results: BatchResults;
  readonly signals: Pick<Signals, "onChanged">;
  readonly rules: ItemRules;
  /** How many callers may send items or uploads, or read results, at once. */
  readonly maxStreams: number;
}

/** A reader that is told nothing so long is sent an empty line, so that no proxy takes its connection for dead. */
const KEEP_ALIVE_MS = 15_000;

export class Batches {
  readonly store: BatchStore;
  readonly rules: ItemRules;
  readonly #options: BatchesOptions;
  readonly #leaving = new AbortController();
  #streams = 0;

  constructor(options: BatchesOptions) {
    this.store = options.store;
    this.rules = options.rules;
    this.#options = options;
  }

  /** Returns the way out. Throws `too_many_waiters`. */
  enter(): () => void {
    const { maxStreams: limit } = this.#options;
    if (this.#streams >= limit)
      throw new MayflyError("too_many_waiters", `this gateway holds ${limit} waiting requests already`, {
        details: { limit },
      });
    this.#streams++;
    let isIn = true;
    return () => {
      if (isIn) this.#streams--;
      isIn = false;
    };
  }

  /** Ends what is followed: who reads can go on at another gateway. */
  leave(): void {
    this.#leaving.abort();
  }

  /** Those that there are and, if they are followed, those that come until the batch is over. Undefined now and then, where nothing comes. */
  async *results(
    id: string,
    tenant: string,
    { follow, signal, ...from }: Position & { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<BatchResult | undefined, void> {
    const { store, results, signals } = this.#options;
    const bell = new Bell();
    const ring = () => bell.ring();
    const over = AbortSignal.any([signal, this.#leaving.signal]);
    over.addEventListener("abort", ring);
    const unlisten = follow ? await signals.onChanged(id, ring) : () => {};
    try {
      let position: Position = from;
      while (!over.aborted) {
        // What is over is known before the page is read: what comes between is on the page.
        const { batch, isOver, unfedFrom } = await store.get(id, tenant);
        const extent = { total: batch.counts.total, unfedFrom: isOver ? unfedFrom : undefined };
        const page = await results.page(id, position, extent);
        position = page.next;
        yield* page.results;
        if (page.results.length > 0) continue;
        if (isOver || !follow) return;
        if (await isSilent(bell)) yield undefined;
      }
    } finally {
      unlisten();
      over.removeEventListener("abort", ring);
    }
  }
}

async function isSilent(bell: Bell): Promise<boolean> {
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    bell.ring();
  }, KEEP_ALIVE_MS);
  await bell.wait();
  clearTimeout(timer);
  return silent;
}
