// Identifiers of runs and processes. A run's id sorts by the moment it was made, so listings need no other order.

import { randomBytes, randomFillSync } from "node:crypto";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

export const RUN_ID_PATTERN = /^run_[0-9a-hjkmnp-tv-z]{26}$/;

const RANDOM_BITS = 80;
const RANDOM_BYTES = RANDOM_BITS / 8;
/** Asked of the kernel for so many ids at once: each question takes longer than all else that an id needs. */
const POOLED_IDS = 128;
const pool = Buffer.alloc(POOLED_IDS * RANDOM_BYTES);
let poolUsed = pool.length;
let last = { epochMs: -1, random: 0n };

/**
 * `run_` and 26 characters of Crockford's base 32: 48 bits of time in ms, then 80 random bits (the layout of a ULID). Of one process and
 * moment each is one more than the one before, so that those sort, too.
 */
export function newRunId(epochMs: number = Date.now()): string {
  const random = epochMs === last.epochMs ? last.random + 1n : freshRandom();
  last = { epochMs, random: BigInt.asUintN(RANDOM_BITS, random) };
  return `run_${base32(BigInt(epochMs), 10)}${base32(last.random, 16)}`;
}

export const UPLOAD_ID_PATTERN = /^upl_[0-9a-hjkmnp-tv-z]{26}$/;

/** As a run's, so that uploads sort by the moment they came, too. */
export const newUploadId = (): string => newRunId().replace("run_", "upl_");

/** Each part of the pool is used once. */
function freshRandom(): bigint {
  if (poolUsed === pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const from = poolUsed;
  poolUsed += RANDOM_BYTES;
  return BigInt(`0x${pool.toString("hex", from, poolUsed)}`);
}

export const BATCH_ID_PATTERN = /^bat_[0-9a-hjkmnp-tv-z]{22}$/;

/** How many items a batch can name: four digits of each run's id. */
export const MAX_BATCH_INDEX = 32 ** 4 - 1;

/** `bat_` and 22 characters: 48 bits of time in ms, then 60 random bits. With four more they are the id of each of its runs. */
export function newBatchId(epochMs: number = Date.now()): string {
  const random = BigInt(`0x${randomBytes(8).toString("hex")}`);
  return `bat_${base32(BigInt(epochMs), 10)}${base32(random, 12)}`;
}

/** The id of the run of a batch's item, counted from 0: derived, so that no item can have two. The script that makes it does the same. */
export function itemRunId(batch: string, index: number): string {
  return `run_${batch.slice("bat_".length)}${base32(BigInt(index), 4)}`;
}

/** No id that was made at this moment or later comes before it, and none that was made earlier after. */
export function firstRunId(epochMs: number): string {
  return `run_${base32(BigInt(Math.max(0, Math.floor(epochMs))), 10)}${base32(0n, 16)}`;
}

/** An id for one life of a process: a host or gateway that restarts is not the one that died. */
export function newIncarnation(): string {
  return randomBytes(8).toString("hex");
}

/** The value in so many of Crockford's digits, in lower case; higher ones are dropped. */
export function base32(value: bigint, digits: number): string {
  let rest = value;
  let text = "";
  for (let digit = 0; digit < digits; digit++) {
    text = ALPHABET.charAt(Number(rest & 31n)) + text;
    rest >>= 5n;
  }
  return text;
}
