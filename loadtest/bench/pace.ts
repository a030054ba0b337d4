// The pace of what is timed in Node: as native/pace.h has it for the C programs.

import { setTimeout as delay } from "node:timers/promises";
import type { Burst, Pace } from "./native.ts";

/** One after another, with a pause before each; gives what `one` gave: milliseconds. */
export async function pacedOnce({ count, pauseMs }: Pace, one: () => Promise<number>): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    await delay(pauseMs);
    samples.push(await one());
  }
  return samples;
}

/** Many side by side; gives how many were run, a second. Rejects, when all are over, if one rejected. */
export async function rateOfMany({ parallel, ms }: Burst, one: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let count = 0;
  const loop = async () => {
    while (performance.now() < start + ms) {
      await one();
      count++;
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: parallel }, loop));
  const elapsedMs = performance.now() - start;
  const failed = ended.find((each) => each.status === "rejected");
  if (failed) throw failed.reason;
  return (count * 1000) / elapsedMs;
}
