import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digestOf, hexOf } from "../../../../runtime/content/digest.ts";
import { type ContentStore, createContentStore } from "../../../../runtime/content/store.ts";

let directory: string;
let store: ContentStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-content-"));
  store = createContentStore(directory);
});
afterEach(() => rm(directory, { recursive: true }));

const BYTES = Buffer.from("content");
const DIGEST = digestOf(BYTES);
const names = () => readdir(join(directory, "sha256"));

test("what was written is read back, and what was not is undefined", async () => {
  expect(await store.read(DIGEST)).toBeUndefined();
  await store.write(DIGEST, BYTES);
  expect(await store.read(DIGEST)).toEqual(BYTES);
});

test("bytes of another digest are refused, and nothing is kept", async () => {
  await expect(store.write(DIGEST, Buffer.from("other"))).rejects.toMatchObject({ reason: "image_corrupt" });
  expect(await store.read(DIGEST)).toBeUndefined();
});

test("many writers of the same content leave one file", async () => {
  await Promise.all(Array.from({ length: 20 }, () => store.write(DIGEST, BYTES)));
  expect(await names()).toEqual([hexOf(DIGEST)]);
});

test("content that rotted on disk counts as absent, and is removed", async () => {
  await store.write(DIGEST, BYTES);
  await writeFile(join(directory, "sha256", hexOf(DIGEST)), "rotten");
  expect(await store.read(DIGEST)).toBeUndefined();
  expect(await names()).toEqual([]);
});

test("a write that fails leaves nothing behind", async () => {
  await writeFile(join(directory, "sha256"), "in the way");
  await expect(store.write(DIGEST, BYTES)).rejects.toThrow();
  expect(await readdir(directory)).toEqual(["sha256"]);
});
