// What an operator asks of a host's images, and does to them.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ImageInfo, ImageInspection, ImageUsage } from "../../core/images.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildIndex, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const BASE = buildLayer([{ path: "base", content: "base" }]);
const TOP = buildLayer([{ path: "top" }]);
const A = buildImage({
  layers: [BASE, TOP],
  config: { Env: ["A=1"], Cmd: ["run"], User: "app" },
  configOverrides: {
    created: "2026-01-02T03:04:05Z",
    config: { Env: ["A=1"], Cmd: ["run"], User: "app", Labels: { by: "us" } },
    history: [
      { created_by: "ADD base", created: "2026-01-01T00:00:00Z" },
      { created_by: "ENV A=1", empty_layer: true },
      { created_by: "COPY top", comment: "buildkit" },
    ],
  },
});
const B = buildImage({ layers: [BASE] });

let registry: FakeRegistry;
let host: StoreUnderTest;
let a: string;
let b: string;

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  a = registry.add("demo/a:1", A).reference;
  b = registry.add("demo/b:1", buildIndex([B])).reference;
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

async function pulled(...references: string[]) {
  for (const reference of references) (await host.store.ensure(reference, NEVER)).release();
  return host.store.admin;
}
const contentNames = () => readdir(join(host.stateDir, "content/sha256"));

test("images are listed with their names, the least recently used first, after a restart too", async () => {
  const { reference: alias } = registry.add("demo/alias:1", A);
  await pulled(a, alias, b);
  const now = Date.now();
  while (Date.now() === now); // Two uses within a millisecond have no order.
  (await host.store.ensure(a, NEVER)).release();
  const [first, second] = (await host.store.admin.list()).map((image) => ImageInfo.parse(image));
  expect(first).toMatchObject({ references: [b], manifestDigest: B.manifest.digest, held: 0, pinned: false });
  expect(first?.digest).not.toBe(first?.manifestDigest);
  expect(second).toMatchObject({
    references: [a, alias].toSorted(),
    configDigest: A.blobs[0]?.digest,
    createdAt: "2026-01-02T03:04:05Z",
    layers: [{ digest: BASE.digest, diffId: BASE.diffId, size: BASE.bytes.length }, { digest: TOP.digest }],
  });
  await registry.stop();
  const restarted = await host.restart().admin.list();
  expect(restarted.map(({ references }) => references).toSorted()).toEqual([[a, alias].toSorted(), [b]].toSorted());
});

test("an image is inspected by any of its names: its config, its labels, and its history with the layers that steps made", async () => {
  const admin = await pulled(a);
  const byDigest = a.replace(":1", `@${A.manifest.digest}`);
  const inspection = ImageInspection.parse(await admin.inspect(byDigest));
  expect(inspection).toEqual(await admin.inspect(a));
  expect(inspection.config).toEqual({
    env: ["A=1"],
    entrypoint: [],
    command: ["run"],
    workdir: "/",
    user: "app",
    labels: { by: "us" },
  });
  expect(inspection.history.map(({ createdBy, layer }) => [createdBy, layer?.diffId])).toEqual([
    ["ADD base", BASE.diffId],
    ["ENV A=1", undefined],
    ["COPY top", TOP.diffId],
  ]);
});

test("layers that no step of the history tells of are listed all the same", async () => {
  const admin = await pulled(b);
  expect((await admin.inspect(b)).history).toMatchObject([{ createdBy: "", layer: { diffId: BASE.diffId } }]);
});

test.each([
  ["a moment", { created: 5 }],
  ["a moment without end", { created: "2026".repeat(1_000) }],
  ["a history", { history: "long" }],
  ["a step of a history", { history: [{ created_by: [] }] }],
  ["labels", { config: { Labels: { by: 1 } } }],
])(
  "an image whose config has nonsense for %s can be run, and is listed and inspected without it",
  async (_what, nonsense) => {
    const { reference } = registry.add("demo/odd:1", buildImage({ layers: [BASE], configOverrides: nonsense }));
    const admin = await pulled(a, reference);
    expect((await admin.list()).map(({ references }) => references)).toEqual([[a], [reference]]);
    const { createdAt, history, config } = ImageInspection.parse(await admin.inspect(reference));
    expect([createdAt, history.map(({ createdBy }) => createdBy), config.labels]).toEqual([undefined, [""], {}]);
  },
);

test("a tag that moves on while its image is unpinned by another name stays where it moved to", async () => {
  const { reference: alias } = registry.add("demo/alias:1", A);
  const admin = await pulled(a, alias, b);
  await admin.pin(a, true);
  await admin.pin(alias, true);
  const { records } = host.store.stores;
  const unpinning = admin.pin(a, false);
  const isDone = () => [a, alias].map((name) => records.get(name)?.pinned).indexOf(false);
  while (isDone() < 0) await new Promise(setImmediate);
  const moved = [alias, a][isDone()] ?? ""; // The other one's turn is still to come.
  const there = records.get(b);
  if (there) await records.set({ ...there, reference: moved });
  await unpinning;
  expect(records.get(moved)).toEqual({ ...there, reference: moved });
});

test("what is not here is said to be not here, by each question", async () => {
  const { admin } = host.store;
  const asked = [
    admin.inspect(a),
    admin.remove(a),
    admin.pin(a, true),
    admin.verify({ reference: a, repair: true }, NEVER),
  ];
  for (const question of asked) await expect(question).rejects.toMatchObject({ reason: "image_not_present" });
  expect(registry.requests).toEqual([]);
});

test("removing takes a name away, and with the last name what only this image needs", async () => {
  const { reference: alias } = registry.add("demo/alias:1", A);
  const admin = await pulled(a, alias, b);
  expect(await admin.remove(alias)).toEqual({ references: [alias], layers: 0, bytes: 0 });
  const { total } = await admin.usage();
  const reclaimed = await admin.remove(a);
  expect(reclaimed).toMatchObject({ references: [a], layers: 1 });
  expect((await admin.usage()).total).toBe(total - reclaimed.bytes);
  expect(host.layerNames()).toEqual([BASE.diffId.slice(7)]);
  await admin.remove(b);
  expect(host.layerNames()).toEqual([]);
  expect(await contentNames()).toEqual([]);
  expect(await readdir(join(host.stateDir, "images"))).toEqual([]);
  expect(await host.restart().admin.list()).toEqual([]);
});

test("an image that is held or pinned is not removed, by none of its names, and not pruned", async () => {
  const { reference: alias } = registry.add("demo/alias:1", A);
  const admin = await pulled(a, alias);
  const held = await host.store.ensure(a, NEVER);
  for (const name of [a, alias])
    await expect(admin.remove(name)).rejects.toMatchObject({ reason: "image_in_use", details: { held: 1 } });
  expect(await admin.prune({ unusedForMs: 0 })).toMatchObject({ references: [] });
  held.release();
  held.release();
  await admin.pin(a, true);
  await expect(admin.remove(alias)).rejects.toMatchObject({ reason: "image_in_use", details: { pinned: true } });
  expect(await host.restart().admin.list()).toMatchObject([{ pinned: true }]);
  await admin.pin(alias, false); // A pin is of the image, by whatever name.
  expect(await admin.prune({ unusedForMs: 0 })).toMatchObject({
    references: expect.arrayContaining([a, alias]),
    layers: 2,
  });
});

test("a pin stays on a name whose tag moves on", async () => {
  const admin = await pulled(a);
  await admin.pin(a, true);
  registry.add("demo/a:1", B);
  (await host.store.ensure(a, NEVER, { pull: "always" })).release();
  expect(await admin.list()).toMatchObject([{ references: [a], manifestDigest: B.manifest.digest, pinned: true }]);
});

test("pruning removes what was unused for so long, and what no image has", async () => {
  const admin = await pulled(a, b);
  expect(await admin.prune({ unusedForMs: 3_600_000 })).toMatchObject({ references: [], layers: 0 });
  registry.add("demo/a:1", B);
  (await host.store.ensure(a, NEVER, { pull: "always" })).release();
  expect(await admin.prune({ unusedForMs: 3_600_000 })).toMatchObject({ references: [], layers: 1 });
  expect(host.layerNames()).toEqual([BASE.diffId.slice(7)]);
});

test("usage counts what is on disk once, and tells what could be freed", async () => {
  const admin = await pulled(a, b);
  const held = await host.store.ensure(b, NEVER);
  const usage = ImageUsage.parse(await admin.usage());
  expect(usage).toMatchObject({ images: 2, layers: 2 });
  const base = (await admin.inspect(b)).layers[0];
  const top = (await admin.inspect(a)).layers[1];
  expect(usage.shared).toBe((base?.size ?? 0) + (base?.unpacked ?? 0));
  expect(usage.unique).toBe((top?.size ?? 0) + (top?.unpacked ?? 0));
  held.release();
  await admin.pin(b, true);
  expect((await admin.usage()).reclaimable).toBe(usage.reclaimable);
  expect((await admin.prune({ unusedForMs: 0 })).bytes).toBe(usage.reclaimable);
  expect((await admin.usage()).reclaimable).toBe(0);
});

test("a blob that is here is told with its place and size", async () => {
  const admin = await pulled(b);
  expect(await admin.blob(BASE.digest)).toEqual({ path: expect.any(String), size: BASE.bytes.length });
  expect(await admin.blob(TOP.digest)).toBeUndefined();
  expect(await admin.blob("../../etc/passwd")).toBeUndefined();
});
