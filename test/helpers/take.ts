// What a worker does to get a run, without a worker: it offers room for one, and is given what is next.

import type { RunRecord } from "../../core/record.ts";
import type { RunStore } from "../../worker/run-store.ts";

const ROOM = { cpus: 64, memoryBytes: 64 * 2 ** 30, pids: 100_000, slots: 1 };
let series = 0;

/** The record of the attempt, if it is the one that was given or had been before; and nobody listens to the offer afterwards. */
export async function take(
  store: RunStore,
  attempt: { readonly id: string; readonly attempt: number },
  host: string,
): Promise<RunRecord | undefined> {
  const had = await store.recall(attempt);
  if (had) return had;
  series++;
  await store.offer("default", { offer: { host, ...ROOM, capacity: ROOM }, heard: { series, seen: 0 } });
  await store.withdraw("default", series);
  return store.recall(attempt);
}
