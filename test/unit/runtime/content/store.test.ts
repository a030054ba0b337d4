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

test("a reserved blob is not there until it is committed, and then is, with its size", async () => {
  const blob = await store.reserve(DIGEST);
  await writeFile(blob.path, BYTES);
  expect(await store.stat(DIGEST)).toBeUndefined();
  expect(await store.list()).toEqual([]);
  await blob.commit();
  expect(await store.stat(DIGEST)).toEqual({ path: join(directory, "sha256", hexOf(DIGEST)), size: BYTES.length });
  expect(await store.list()).toEqual([{ digest: DIGEST, size: BYTES.length }]);
  expect(await names()).toEqual([hexOf(DIGEST)]);
});

test("a blob that is discarded leaves nothing, written or not, and as often as one likes", async () => {
  const [written, empty] = [await store.reserve(DIGEST), await store.reserve(DIGEST)];
  await writeFile(written.path, BYTES);
  for (const blob of [written, empty, written]) await blob.discard();
  expect(await names()).toEqual([]);
});

test("two reservations of one digest have files of their own, and both commits are kept as one", async () => {
  const blobs = [await store.reserve(DIGEST), await store.reserve(DIGEST)];
  for (const blob of blobs) await writeFile(blob.path, BYTES);
  for (const blob of blobs) await blob.commit();
  expect(await names()).toEqual([hexOf(DIGEST)]);
});

test("a commit of what was never written rejects and keeps nothing", async () => {
  const blob = await store.reserve(DIGEST);
  await expect(blob.commit()).rejects.toMatchObject({ code: "ENOENT" });
  expect(await names()).toEqual([]);
});

test("a blob that is removed while it is read is read to its end", async () => {
  await store.write(DIGEST, BYTES);
  const stream = await store.open(DIGEST);
  expect(await store.remove(DIGEST)).toBe(BYTES.length);
  expect(Buffer.concat((await stream?.toArray()) ?? [])).toEqual(BYTES);
  expect(await names()).toEqual([]);
});

test("what is absent can be opened, looked at and removed: there is nothing", async () => {
  expect(await store.open(DIGEST)).toBeUndefined();
  expect(await store.stat(DIGEST)).toBeUndefined();
  expect(await store.remove(DIGEST)).toBe(0);
  expect(await store.list()).toEqual([]);
});

test("what a crash left half-written is no content, and is removed at the start", async () => {
  await store.write(DIGEST, BYTES);
  await writeFile((await store.reserve(digestOf(Buffer.from("x")))).path, "half");
  expect(await store.list()).toHaveLength(1);
  await store.removeLeftovers();
  expect(await names()).toEqual([hexOf(DIGEST)]);
});
