// A host that has less disk than images: what goes, in which order, and what stays.

import { mkdir, readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog } from "../../core/log.ts";
import { digestOf, hexOf } from "../../runtime/content/digest.ts";
import type { HostImageStore } from "../../runtime/image/store.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { type BuiltImage, buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const MIB = 2 ** 20;

/** Of one MiB that does not compress, and so two on disk: unpacked, and as a blob. */
const layerOf = (letter: string) =>
  buildLayer([{ path: letter, content: Buffer.alloc(MIB, letter) }, { path: `${letter}2` }], "none");
const SHARED = layerOf("s");
const IMAGES = Object.fromEntries(
  ["a", "b", "c"].map((letter) => [letter, buildImage({ layers: [SHARED, layerOf(letter)] })]),
) as Record<"a" | "b" | "c", BuiltImage>;

let registry: FakeRegistry;
let host: StoreUnderTest;

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  for (const [letter, image] of Object.entries(IMAGES)) registry.add(`demo/${letter}:1`, image);
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

const referenceOf = (letter: string) => `${registry.host}/demo/${letter}:1`;
const pull = async (store: HostImageStore, letter: string) => store.ensure(referenceOf(letter), NEVER);
const blobOf = (letter: "a" | "b" | "c") => IMAGES[letter].blobs[2]?.digest ?? "";
const names = async (store: HostImageStore) =>
  (await store.admin.list()).flatMap(({ references }) => references.map((name) => name.split("/")[2]?.split(":")[0]));

/** So that which image was used last is not a matter of a millisecond. */
async function usedLongAgo(letter: string, hours: number): Promise<void> {
  const path = join(host.stateDir, "images", `${hexOf(digestOf(Buffer.from(referenceOf(letter))))}.json`);
  const seconds = Date.now() / 1000 - hours * 3600;
  await utimes(path, seconds, seconds);
}

test("blobs of the least recently used go first, and their images still start without a registry", async () => {
  for (const letter of ["a", "b"]) (await pull(host.store, letter)).release();
  await usedLongAgo("a", 2);
  await usedLongAgo("b", 1);
  const { total } = await host.store.admin.usage();
  const lines: Record<string, unknown>[] = [];
  const log = createLog({}, (line) => lines.push(JSON.parse(line)));
  const store = host.restart({ diskBudget: total - 1, log });
  await store.removeLeftovers();
  expect(await store.admin.blob(blobOf("a"))).toBeUndefined();
  expect(await names(store)).toEqual(["a", "b"]);
  expect(lines).toMatchObject([{ event: "images.collected", references: [], layers: 0, budget: total - 1 }]);
  await registry.stop();
  expect((await pull(store, "a")).layers).toHaveLength(2);
});

test("whole images go when blobs are not enough, the least recently used first; a layer that another image has stays", async () => {
  for (const letter of ["a", "b"]) (await pull(host.store, letter)).release();
  await usedLongAgo("b", 2); // Used before a.
  const [shared] = (await pull(host.store, "a")).layers;
  const store = host.restart({ diskBudget: 2.3 * MIB });
  await store.removeLeftovers();
  expect(await names(store)).toEqual(["a"]);
  const image = await store.ensure(referenceOf("a"), NEVER, { pull: "never" });
  expect(image.layers[0]).toBe(shared);
  expect(host.layerNames()).toHaveLength(2);
});

test("a pull makes room for itself, down to the low mark, and is held while it does", async () => {
  const store = host.restart({ diskBudget: 7 * MIB });
  for (const letter of ["a", "b"]) (await pull(store, letter)).release();
  const image = await pull(store, "c");
  const { total } = await store.admin.usage();
  expect(total).toBeLessThanOrEqual(7 * MIB);
  for (const layer of image.layers) expect((await stat(layer)).isDirectory()).toBe(true);
});

test("what is held stays, and a pull that does not fit beside it is refused with the budget and what is held", async () => {
  const store = host.restart({ diskBudget: 4.5 * MIB });
  const held = await pull(store, "a");
  await expect(pull(store, "b")).rejects.toMatchObject({
    reason: "host_unavailable",
    message: expect.stringMatching(/^(?!.*demo).*4608KiB.*MAYFLY_IMAGES_DISK/), // Who asks need not know what others run.
    cause: expect.objectContaining({ message: expect.stringContaining("demo/a:1") }), // The operator's log does.
    details: { held: 2 }, // Itself, too.
  });
  for (const layer of held.layers) expect((await readdir(layer)).length).toBeGreaterThan(0);
  held.release();
  expect((await pull(store, "b")).layers).toHaveLength(2);
});

test("an image that is larger than the whole budget is refused, and nothing of it is left", async () => {
  const store = host.restart({ diskBudget: 1.5 * MIB });
  await expect(pull(store, "a")).rejects.toMatchObject({ reason: "host_unavailable" });
  await store.admin.prune({ unusedForMs: 0 });
  expect(await store.admin.usage()).toMatchObject({ images: 0, total: 0 });
  expect(host.layerNames()).toEqual([]);
});

test("an image that says that it is larger than all others drives out none of them, and holds up no pull at the same time", async () => {
  const store = host.restart({ diskBudget: 8 * MIB });
  (await pull(store, "a")).release();
  const liar = sized(buildImage({ layers: [layerOf("x")] }), Number.MAX_SAFE_INTEGER);
  const { reference } = registry.add("demo/liar:1", liar);
  const [lie, other] = await Promise.allSettled([store.ensure(reference, NEVER), pull(store, "b")]);
  expect(lie).toMatchObject({ status: "rejected", reason: { reason: "host_unavailable" } });
  expect(other).toMatchObject({ status: "fulfilled" });
  expect(await names(store)).toEqual(["a", "b"]);
  expect(await store.admin.blob(blobOf("a"))).toBeDefined();
});

test("an image that is larger than all others only once it is unpacked drives out none of them", async () => {
  const store = host.restart({ diskBudget: 8 * MIB });
  (await pull(store, "a")).release();
  const bomb = buildImage({ layers: [buildLayer([{ path: "x", content: Buffer.alloc(9 * MIB, "x") }])] });
  const { reference } = registry.add("demo/bomb:1", bomb);
  await expect(store.ensure(reference, NEVER)).rejects.toMatchObject({ reason: "host_unavailable" });
  expect(await names(store)).toEqual(["a"]);
  expect(await store.admin.blob(blobOf("a"))).toBeDefined();
  expect(host.layerNames()).toHaveLength(2);
});

test("a pull ends with the layer that is too much, and not with the last one", async () => {
  const store = host.restart({ diskBudget: 8 * MIB });
  const layers = Array.from("abcdefghijkl", (letter) =>
    buildLayer([{ path: letter, content: Buffer.alloc(4 * MIB, letter) }]),
  );
  const { reference } = registry.add("demo/many:1", buildImage({ layers }));
  await expect(store.ensure(reference, NEVER)).rejects.toMatchObject({ reason: "host_unavailable" });
  expect(registry.count(/blobs/)).toBeLessThan(layers.length);
  expect((await store.admin.usage()).total).toBeLessThanOrEqual(8 * MIB);
});

/** Whose manifest says so of its first layer. */
function sized(image: BuiltImage, size: number): BuiltImage {
  const document = JSON.parse(image.manifest.bytes.toString());
  document.layers[0].size = size;
  const bytes = Buffer.from(JSON.stringify(document));
  return { ...image, manifest: { ...image.manifest, bytes, digest: digestOf(bytes) } };
}

test("an image that turns out larger unpacked than it was announced is refused, and is not recorded", async () => {
  const zeros = buildImage({ layers: [buildLayer([{ path: "zeros", content: Buffer.alloc(4 * MIB, 0x61) }])] });
  const { reference } = registry.add("demo/zeros:1", zeros);
  const store = host.restart({ diskBudget: MIB });
  await expect(store.ensure(reference, NEVER)).rejects.toMatchObject({ reason: "host_unavailable" });
  expect(await store.admin.list()).toEqual([]);
  expect(host.layerNames()).toEqual([]);
});

test("a pinned image is never collected", async () => {
  for (const letter of ["a", "b"]) (await pull(host.store, letter)).release();
  await host.store.admin.pin(referenceOf("a"), true);
  await usedLongAgo("a", 100);
  const store = host.restart({ diskBudget: MIB });
  await store.removeLeftovers();
  expect(await names(store)).toEqual(["a"]);
  expect(await store.admin.blob(blobOf("a"))).toBeDefined();
});

test("layers of a pull under way are held, the one that was found present too, while another pull collects", async () => {
  const reached = Promise.withResolvers<void>();
  const resume = Promise.withResolvers<void>();
  await registry.stop();
  registry = await startFakeRegistry({
    intercept: ({ path }, response) => {
      if (!path.includes(blobOf("b"))) return false;
      reached.resolve();
      void resume.promise.then(() => response.end(IMAGES.b.blobs[2]?.bytes));
      return true;
    },
  });
  for (const [letter, image] of Object.entries(IMAGES)) registry.add(`demo/${letter}:1`, image);
  const store = host.restart({ diskBudget: 100 * MIB });
  (await pull(store, "a")).release();
  const pulling = pull(store, "b"); // Its lower layer is here, by way of a.
  await reached.promise;
  await store.admin.remove(referenceOf("a"));
  await store.admin.prune({ unusedForMs: 0 });
  resume.resolve();
  const image = await pulling;
  expect(await readdir(image.layers[0] ?? "")).toContain("s");
});

test("what failed pulls and moved tags have left goes first", async () => {
  (await pull(host.store, "a")).release();
  const orphan = join(host.layersDir, "f".repeat(64));
  await mkdir(orphan);
  await writeFile(join(orphan, "large"), Buffer.alloc(2 * MIB, 1));
  const { total } = await host.store.admin.usage();
  const store = host.restart({ diskBudget: total - 1 });
  await store.removeLeftovers();
  expect(host.layerNames()).not.toContain("f".repeat(64));
  expect(await store.admin.blob(blobOf("a"))).toBeDefined();
});

test("a run that comes while its image is being removed gets it whole, from the registry again", async () => {
  const store = host.store;
  for (let round = 0; round < 10; round++) {
    (await pull(store, "a")).release();
    const [removed, image] = await Promise.allSettled([store.admin.remove(referenceOf("a")), pull(store, "a")]);
    if (image.status === "rejected") throw image.reason;
    if (removed.status === "rejected") expect(removed.reason).toMatchObject({ reason: "image_in_use" });
    for (const layer of image.value.layers) expect((await readdir(layer)).length).toBe(2);
    image.value.release();
  }
});

test("by default images have four fifths of the file system, less what others take", async () => {
  const { budget } = await host.store.admin.usage();
  expect(budget).toBeGreaterThan(0);
});
