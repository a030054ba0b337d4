// Room that a host offers: a run that comes while nobody waits is given to such a host in the very step that accepts it.
//
// In Redis an offer is JSON, one a life of a worker, in the hash of its pool. `given` counts the runs that were handed over for it.
// A worker that tells its room says how many of those it has heard of (`seen`); what the others need, which are still on their way
// to it, is taken off. So the room that a run was promised is never promised twice.

import type { Capacity } from "./host.ts";
import { parseFlatRecord, type RunRecord } from "./record.ts";

/** An offer that is not renewed holds no longer than this: its host may have lost its power. */
export const OFFER_MS = 10_000;
/** A host that has so many to hear of is given no more. */
export const MAX_ON_THE_WAY = 64;
/**
 * A longer request waits its turn, for its host to read: Redis drops a subscriber that is behind by some tens of megabytes, and
 * with it all that others have been handed.
 */
export const MAX_HANDED_BYTES = 64 * 1024;
/** Of so many offers, picked at random, the roomiest is taken: what a run costs Redis does not grow with the cluster. */
export const OFFERS_LOOKED_AT = 8;

export interface Offer extends Capacity {
  readonly host: string;
}

/** Where a worker is in what it was handed: counted from 0 in each series, and a new series starts when messages were lost. */
export interface Heard {
  readonly series: number;
  readonly seen: number;
}

/** What a host says of its room. */
export interface Room {
  readonly offer: Offer;
  readonly heard: Heard;
}

export interface HandedRun extends Heard {
  readonly record: RunRecord;
}

/** What is said on a worker's channel: series, number, record. Throws if it is not that. */
export function parseHanded(message: string): HandedRun {
  const [series, seen, flat] = JSON.parse(message) as [number, number, string[]];
  const record = parseFlatRecord(flat);
  if (!record) throw new Error("a run was handed over without its record");
  return { series, seen, record };
}
