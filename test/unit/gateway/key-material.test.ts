import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { KEY_ID_PATTERN } from "../../../core/api-key.ts";
import { hashKey, idOfKey, isSameHash, makeKey, newKeyId, withoutKeys } from "../../../gateway/key-material.ts";

/** What is given to scanners for secrets. */
const SCANNED = /\bmayfly_[0-9a-hjkmnp-tv-z]{12}_[0-9a-hjkmnp-tv-z]{39}\b/;

test("a key has its id in it, is found by a scanner, and is kept as a SHA-256", () => {
  for (let i = 0; i < 200; i++) {
    const { id, key, hash } = makeKey();
    expect(id).toMatch(KEY_ID_PATTERN);
    expect(key).toMatch(SCANNED);
    expect(idOfKey(key)).toBe(id);
    expect(hash).toBe(createHash("sha256").update(key).digest("hex"));
  }
});

test("another key of the same id is another key", () => {
  const id = newKeyId();
  const made = Array.from({ length: 100 }, () => makeKey(id));
  expect(new Set(made.map(({ key }) => key)).size).toBe(100);
  for (const { key } of made) expect(idOfKey(key)).toBe(id);
});

test("no character of a key can be changed, added or left out without its checksum telling", () => {
  const { key } = makeKey();
  for (let at = 0; at < key.length; at++) {
    const other = key[at] === "0" ? "1" : "0";
    expect(idOfKey(key.slice(0, at) + other + key.slice(at + 1)), `at ${at}`).toBeUndefined();
    expect(idOfKey(key.slice(0, at) + key.slice(at + 1)), `without ${at}`).toBeUndefined();
  }
  for (const text of ["", "mayfly_", `${key}0`, ` ${key}`, `${key}\n`, key.toUpperCase()])
    expect(idOfKey(text)).toBeUndefined();
});

test("hashes are the same only if they are, whatever their lengths", () => {
  const hash = hashKey("a");
  expect(isSameHash(hash, hashKey("a"))).toBe(true);
  for (const other of [hashKey("b"), hash.slice(1), "", hash.toUpperCase()])
    expect(isSameHash(hash, other)).toBe(false);
});

test("what is left of a key in a text is its id", () => {
  const { id, key } = makeKey();
  const secret = key.slice(`mayfly_${id.slice(4)}_`.length);
  for (const text of [`/v1/keys/${key}`, key, `${key}/rotate`, `/x%20${key}${key}`]) {
    const told = withoutKeys(text);
    expect(told).not.toContain(secret.slice(0, 8));
    expect(told).toContain(id.slice(4));
  }
  expect(withoutKeys("/v1/runs")).toBe("/v1/runs");
});
