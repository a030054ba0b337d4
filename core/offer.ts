// Room that a host offers: a run is given to such a host in the very step that accepts the run, or in which the room is told.
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
/** How long a worker's hold on a run lasts without renewal. A dead host's runs move on after this. */
export const LEASE_MS = 10_000;
/**
 * Of a run with a longer request only the name is handed over, and its host reads the rest: Redis drops a subscriber that is behind by
 * some tens of megabytes, and with it all that others have been handed.
 */
export const MAX_HANDED_BYTES = 64 * 1024;
/** So many offers, picked at random, are looked at: what a run costs Redis does not grow with the cluster. */
export const OFFERS_LOOKED_AT = 8;

export interface Offer extends Capacity {
  readonly host: string;
  /** What the host would have free were nothing on it. */
  readonly capacity: Capacity;
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
  /** The whole of it, or only its name. */
  readonly run: RunRecord | { readonly id: string; readonly attempt: number };
}

/** What is said on a worker's channel: series, number, and `field, value, …` of the record. Throws if it is not that. */
export function parseHanded(message: string): HandedRun {
  const [series, seen, flat] = JSON.parse(message) as [number, number, string[]];
  const [, id, , attempt] = flat;
  if (flat.length === 4) return { series, seen, run: { id: String(id), attempt: Number(attempt) } };
  const run = parseFlatRecord(flat);
  if (!run) throw new Error("a run was handed over without its record");
  return { series, seen, run };
}
