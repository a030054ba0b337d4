// How many runs a second a target does at most, as a measure for the rates of the scenarios: lanes that each ask for the next
// run when the last has ended. Such a closed loop finds the limit and never goes beyond it.

import { availableParallelism } from "node:os";
import { runOnce } from "../infra/first-run.ts";
import type { Target } from "./target.ts";

const DEFAULT_MS = 4_000;
/** A worker with its defaults has four runs of one CPU alive for each CPU that it has: twice that keeps it busy. */
const LANES_PER_CPU = 8;
/** Fewer than the smallest queue that a scenario asks for. */
const MAX_LANES = 40;

/** Runs a second. Rejects if one does not exit 0. */
export async function measureCapacity({ url, image }: Target, durationMs: number = DEFAULT_MS): Promise<number> {
  const started = performance.now();
  let runs = 0;
  const lane = async () => {
    while (performance.now() - started < durationMs) {
      await runOnce(url, { image, command: ["true"] });
      runs++;
    }
  };
  const lanes = Math.min(MAX_LANES, availableParallelism() * LANES_PER_CPU);
  await Promise.all(Array.from({ length: lanes }, lane));
  return runs / ((performance.now() - started) / 1000);
}
