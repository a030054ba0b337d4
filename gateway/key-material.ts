// What an API key is made of, and what is kept of it.
//
//   mayfly_3v8k2m9q4t7x_5dq0c1n8w2r7e4a9t6y3u0i8o5p2k7j41f9z8ra
//          its id       160 random bits, then the CRC-32 of all that stands before
//
// The id leads to its record, so that nothing is looked up by a secret. By the checksum a scanner for secrets knows a key from what
// only looks like one, and a key that was mistyped costs no look-up.

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import { base32 } from "../core/ids.ts";

const ID_CHARACTERS = 12;
/** 160 bits: nobody guesses them, so a plain hash is as good as one that is made slow. */
const SECRET_CHARACTERS = 32;
/** Of five bits each: 32 bits. */
const CHECKSUM_CHARACTERS = 7;

const KEY_PATTERN = /^(mayfly_([0-9a-hjkmnp-tv-z]{12})_[0-9a-hjkmnp-tv-z]{32})([0-9a-hjkmnp-tv-z]{7})$/;

export interface KeyMaterial {
  /** `key_` and the same characters as in the key. */
  readonly id: string;
  /** To be told once, and kept nowhere. */
  readonly key: string;
  readonly hash: string;
}

export function newKeyId(): string {
  return `key_${randomCharacters(ID_CHARACTERS)}`;
}

/** A new key of this id. */
export function makeKey(id: string = newKeyId()): KeyMaterial {
  const body = `mayfly_${id.slice("key_".length)}_${randomCharacters(SECRET_CHARACTERS)}`;
  const key = body + checksum(body);
  return { id, key, hash: hashKey(key) };
}

/** The id in a key; undefined for what cannot be one of `makeKey`'s. */
export function idOfKey(key: string): string | undefined {
  const [, body, id, sum] = KEY_PATTERN.exec(key) ?? [];
  return body !== undefined && sum === checksum(body) ? `key_${id}` : undefined;
}

/** SHA-256, in hex. */
export function hashKey(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** Takes as long for a hash that is nearly right as for any other. */
export function isSameHash(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}

/** Somebody puts a key where its id belongs: what of it reaches the log is the id. */
export function withoutKeys(text: string): string {
  return text.includes("mayfly_") ? text.replaceAll(/(mayfly_[0-9a-z]{0,12})[0-9A-Za-z_%]*/g, "$1…") : text;
}

function checksum(body: string): string {
  return base32(BigInt(crc32(body)), CHECKSUM_CHARACTERS);
}

function randomCharacters(count: number): string {
  return base32(BigInt(`0x${randomBytes(Math.ceil((count * 5) / 8)).toString("hex")}`), count);
}
