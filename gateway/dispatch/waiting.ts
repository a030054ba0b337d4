// Why a run waits, and what is to be expected: the answer of the script `why`, in the words of the API.

import { wallTime } from "../../core/clock.ts";
import type { Waiting } from "../../core/run.ts";

export type { Waiting };

/** Undefined if it does not wait. */
export function parseWaiting([why, ...facts]: readonly (string | number)[]): Waiting | undefined {
  const place = Number(facts[0]);
  switch (why) {
    case "delayed":
      return { reason: "delayed", until: wallTime(place) };
    case "concurrency":
      return { reason: "concurrency_key", position: place };
    case "quota":
      return { reason: "tenant_quota", position: place, limit: String(facts[1]) };
    case "no host":
      return { reason: "no_host" };
    case "too large":
      return { reason: "no_host_large_enough" };
    case "no room":
      return { reason: "no_room", position: place, ...estimate(place, Number(facts[1])) };
    default:
      return undefined;
  }
}

/** By how many runs were started of late; nothing is said where none were. */
function estimate(position: number, startsPerSecond: number): { estimatedSeconds?: number } {
  return startsPerSecond > 0 ? { estimatedSeconds: Math.ceil(position / startsPerSecond) } : {};
}
