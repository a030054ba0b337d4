import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog } from "../../core/log.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { imageOf, makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";

const IMAGE = buildImage({ layers: [buildLayer([{ path: "one" }]), buildLayer([{ path: "two" }])] });

let registry: FakeRegistry;
let host: StoreUnderTest;
let names: { reference: string; byDigest: string };

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  names = registry.add("demo/a:1", IMAGE);
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

const blobPath = (digest = "") => join(host.stateDir, "content/sha256", digest.slice("sha256:".length));

test("a kept blob that rotted is fetched again when its layer is unpacked anew", async () => {
  const image = imageOf(await host.store.ensure(names.byDigest, NEVER));
  await rm(image.layers[0] ?? "", { recursive: true });
  const path = blobPath(IMAGE.blobs[1]?.digest);
  await writeFile(path, "rotten");
  expect(imageOf(await host.restart().ensure(names.byDigest, NEVER))).toEqual(image);
  expect(await readFile(path)).toEqual(IMAGE.blobs[1]?.bytes);
});

test("an image by digest needs no registry the second time, not even after a restart", async () => {
  const first = imageOf(await host.store.ensure(names.byDigest, NEVER));
  await registry.stop();
  expect(imageOf(await host.store.ensure(names.byDigest, NEVER))).toEqual(first);
  expect(imageOf(await host.restart().ensure(names.byDigest, NEVER))).toEqual(first);
});

test("a tag that this host has resolved keeps its digest, and asks no registry", async () => {
  const first = imageOf(await host.store.ensure(names.reference, NEVER));
  registry.add("demo/a:1", buildImage({ layers: [buildLayer([{ path: "newer" }])] }));
  await registry.stop();
  expect(imageOf(await host.restart().ensure(names.reference, NEVER))).toEqual(first);
});

test("a tag is recorded only once its image is whole", async () => {
  registry.lie(IMAGE.blobs[1]?.digest ?? "", Buffer.from("x"));
  await expect(host.store.ensure(names.reference, NEVER)).rejects.toMatchObject({ reason: "image_corrupt" });
  expect(await readdir(host.stateDir)).not.toContain("images");
});

test("a warm image is found without any I/O", async () => {
  const first = imageOf(await host.store.ensure(names.reference, NEVER));
  await host.remove();
  await registry.stop();
  expect(imageOf(await host.store.ensure(names.reference, NEVER))).toEqual(first);
});

test("a layer whose directory has gone is unpacked again after a restart, and asks no registry while its blob is kept", async () => {
  const image = imageOf(await host.store.ensure(names.byDigest, NEVER));
  await rm(image.layers[0] ?? "", { recursive: true });
  await registry.stop();
  expect(imageOf(await host.restart().ensure(names.byDigest, NEVER))).toEqual(image);
  expect(await readdir(image.layers[0] ?? "")).toEqual(["one"]);
});

test("a layer whose directory and blob have gone is fetched again after a restart", async () => {
  const image = imageOf(await host.store.ensure(names.byDigest, NEVER));
  await rm(image.layers[0] ?? "", { recursive: true });
  await rm(blobPath(IMAGE.blobs[1]?.digest));
  const blobsBefore = registry.count(/blobs/);
  expect(imageOf(await host.restart().ensure(names.byDigest, NEVER))).toEqual(image);
  expect(registry.count(/blobs/)).toBe(blobsBefore + 1);
  expect(await readdir(image.layers[0] ?? "")).toEqual(["one"]);
});

test("a manifest that rotted on disk is fetched again", async () => {
  const image = imageOf(await host.store.ensure(names.byDigest, NEVER));
  const path = blobPath(image.digest);
  await writeFile(path, "rotten");
  expect(imageOf(await host.restart().ensure(names.byDigest, NEVER))).toEqual(image);
  expect(await readFile(path)).toEqual(IMAGE.manifest.bytes);
});

test("what a crash left unfinished is removed at the start, and what is whole stays", async () => {
  const image = imageOf(await host.store.ensure(names.reference, NEVER));
  const [layer = ""] = host.layerNames();
  await writeFile(join(host.layersDir, layer, "whole"), "");
  const directories = [host.layersDir, join(host.stateDir, "content/sha256"), join(host.stateDir, "images")];
  for (const directory of directories) await writeFile(join(directory, `.unfinished-${layer}-012345`), "half");
  await host.restart().removeLeftovers();
  for (const directory of directories) {
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
  }
  expect(imageOf(await host.restart().ensure(names.reference, NEVER))).toEqual(image);
  expect(await readdir(join(host.layersDir, layer))).toContain("whole");
});

test("a host whose uid base is changed does not use layers of the old owners", async () => {
  const before = imageOf(await host.store.ensure(names.byDigest, NEVER));
  const after = imageOf(await host.restart({ uidBase: UID_BASE + 65_536 }).ensure(names.byDigest, NEVER));
  expect(await stat(join(before.layers[0] ?? "", "one"))).toMatchObject({ uid: UID_BASE });
  expect(await stat(join(after.layers[0] ?? "", "one"))).toMatchObject({ uid: UID_BASE + 65_536 });
});

test("a pull is told in one event, and each layer in one of its own", async () => {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({}, (line) => lines.push(JSON.parse(line)));
  await host.restart({ log }).ensure(names.reference, NEVER);
  expect(lines.map(({ event }) => event)).toEqual(["layer.unpacked", "layer.unpacked", "image.ready"]);
  expect(lines[0]).toMatchObject({ entries: 1, devicesSkipped: 0, xattrsSkipped: 0, compression: "gzip" });
  expect(lines[2]).toMatchObject({ image: names.reference, layers: 2, phases: { resolve: expect.any(Number) } });
});

test("there are no leftovers on a host that has never pulled", async () => {
  await host.store.removeLeftovers();
});
