// Archives in a host's own stores: what is loaded can be run without any registry, and what is saved is what was pulled.

import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createHostArchives, type HostArchives } from "../../runtime/archive/host-archives.ts";
import { hexOf } from "../../runtime/content/digest.ts";
import { inChunks, layoutTar, wholeOf } from "../helpers/archive.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildIndex, buildLayer, HOST_PLATFORM } from "../helpers/image-builder.ts";
import { imageOf, makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const BASE = buildLayer([{ path: "base", content: "base" }]);
const TOP = buildLayer([{ path: "top", content: "top" }], "none");
const IMAGE = buildImage({ layers: [BASE, TOP], config: { Cmd: ["run"] } });

const MIB = 2 ** 20;

let registry: FakeRegistry;
let host: StoreUnderTest;
let other: StoreUnderTest;
let reference: string;

beforeEach(async () => {
  registry = await startFakeRegistry();
  reference = registry.add("demo/a:1", buildIndex([IMAGE])).reference;
  host = await makeStore();
  other = await makeStore();
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
  await other.remove();
});

const archivesOf = ({ store, stateDir }: StoreUnderTest): HostArchives =>
  createHostArchives({ store, stateDir, platform: HOST_PLATFORM });
const pull = async () => (await host.store.ensure(reference, NEVER)).release();
const heldOf = async ({ store }: StoreUnderTest) => (await store.admin.list()).map(({ held }) => held);

test.each(["oci", "docker"] as const)(
  "an image goes to another host as %s, and is there without a registry",
  async (format) => {
    await pull();
    const archive = await archivesOf(host).save([reference], format, NEVER);
    await registry.stop();
    expect(await archivesOf(other).load(archive, NEVER)).toEqual([reference]);
    const loaded = await other.store.ensure(reference, NEVER, { pull: "never" });
    const [, pulled] = [loaded.release(), await host.store.ensure(reference, NEVER, { pull: "never" })];
    expect(loaded.config).toEqual(pulled.config);
    if (format === "oci") expect(loaded.manifestDigest).toBe(pulled.manifestDigest);
    expect(await readFile(join(loaded.layers[0] ?? "", "base"), "utf8")).toBe("base");
    expect(await readFile(join(loaded.layers[1] ?? "", "top"), "utf8")).toBe("top");
    pulled.release();
    expect([...(await heldOf(host)), ...(await heldOf(other))]).toEqual([0, 0]);
    expect((await other.store.admin.verify({ repair: false }, NEVER)).faults).toEqual([]);
  },
);

test("an image without a name runs by its digest, and with the caller's by that", async () => {
  const archive = layoutTar({ image: IMAGE });
  const byDigest = `localhost/loaded@${IMAGE.manifest.digest}`;
  expect(await archivesOf(other).load(inChunks(archive), NEVER)).toEqual([byDigest]);
  const [named] = await archivesOf(other).load(inChunks(archive), NEVER, { reference: "mine" });
  expect(named).toBe("docker.io/library/mine:latest");
  for (const name of [byDigest, "mine"]) {
    const image = await other.store.ensure(name, NEVER);
    expect(imageOf(image).manifestDigest).toBe(IMAGE.manifest.digest);
    image.release();
  }
});

test("what the archive has puts right a blob that rotted here", async () => {
  const archive = layoutTar({ image: IMAGE });
  await archivesOf(other).load(inChunks(archive), NEVER);
  await writeFile(join(other.stateDir, "content/sha256", hexOf(BASE.digest)), "rotten");
  await archivesOf(other).load(inChunks(archive), NEVER);
  expect((await other.store.admin.verify({ repair: false }, NEVER)).faults).toEqual([]);
});

test("a layer that is not what the config says is refused, and its image is not recorded", async () => {
  const wrong = buildImage({ layers: [{ ...BASE, diffId: TOP.diffId }] });
  const loading = archivesOf(other).load(inChunks(layoutTar({ image: wrong })), NEVER);
  await expect(loading).rejects.toMatchObject({ reason: "image_corrupt" });
  expect(await other.store.admin.list()).toEqual([]);
  expect(await readdir(join(other.stateDir, "archives"))).toEqual([]);
});

test("an image is held while it is saved, until its archive is read, left, or aborted", async () => {
  await pull();
  const { save } = archivesOf(host);
  const controller = new AbortController();
  const archives = [await save([reference], "oci", NEVER), await save([reference], "oci", NEVER)];
  await save([reference], "oci", controller.signal).then((archive) => archives.push(archive));
  expect(await heldOf(host)).toEqual([3]);
  await expect(host.store.admin.remove(reference)).rejects.toMatchObject({ reason: "image_in_use" });
  const [first, second, third] = archives;
  if (!first || !second || !third) throw new Error("three were made");
  await wholeOf(first);
  for await (const _ of second) break;
  controller.abort(new Error("enough"));
  await expect(wholeOf(third)).rejects.toThrow();
  expect(await heldOf(host)).toEqual([0]);
});

test("a save that is aborted while it is planned fails with that, and leaves nothing behind that could fail later", async () => {
  await pull();
  const controller = new AbortController();
  const { stores } = host.store;
  const stat: typeof stores.content.stat = async (digest) => {
    controller.abort(new Error("enough"));
    return stores.content.stat(digest);
  };
  const store = { ...host.store, stores: { ...stores, content: { ...stores.content, stat } } };
  const { save } = createHostArchives({ store, stateDir: host.stateDir, platform: HOST_PLATFORM });
  await expect(save([reference], "oci", controller.signal)).rejects.toThrow("enough");
  await new Promise((resolve) => setImmediate(resolve)); // What a stream fails with is thrown later, if nobody listens.
  expect(await heldOf(host)).toEqual([0]);
});

test("a blob that was collected is told by its digest before the first byte, and nothing stays held", async () => {
  await pull();
  await rm(join(host.stateDir, "content/sha256", hexOf(BASE.digest)));
  await expect(archivesOf(host).save([reference], "oci", NEVER)).rejects.toMatchObject({
    reason: "image_not_present",
    details: { digest: BASE.digest },
  });
  await expect(archivesOf(host).save([reference, "demo/unknown:1"], "oci", NEVER)).rejects.toMatchObject({
    reason: "image_not_present",
  });
  expect(await heldOf(host)).toEqual([0]);
});

test("what a crash left of a load is removed at the next start", async () => {
  const left = join(host.stateDir, "archives/.unfinished-archive-1");
  await mkdir(left, { recursive: true });
  await archivesOf(host).removeLeftovers();
  expect(existsSync(left)).toBe(false);
});

test("what a load spools counts as images do, and is refused beyond their budget", async () => {
  await pull();
  const big = buildImage({ layers: [buildLayer([{ path: "big", content: Buffer.alloc(20 * MIB) }], "none")] });
  const archive = () => inChunks(layoutTar({ image: big }), MIB / 4);
  const within = async (diskBudget: number) => {
    const store = host.restart({ diskBudget });
    return createHostArchives({ store, stateDir: host.stateDir, platform: HOST_PLATFORM }).load(archive(), NEVER);
  };
  await expect(within(15 * MIB)).rejects.toMatchObject({
    reason: "host_unavailable",
    message: expect.stringMatching(/MAYFLY_IMAGES_DISK.*pulled or loaded needs/),
  });
  expect(await readdir(join(host.stateDir, "archives"))).toEqual([]);
  const { total } = await host.restart().admin.usage();
  expect(total).toBeLessThan(MIB);
  expect(await within(100 * MIB)).toHaveLength(1);
});
