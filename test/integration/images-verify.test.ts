// What has rotted, or was tampered with, is found; and made right again where nothing stands on it.

import { spawnSync } from "node:child_process";
import {
  chmod,
  chown,
  lchown,
  lutimes,
  mkdir,
  readFile,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { imageOf, makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const LAYER = buildLayer([
  { path: "listed/" },
  { path: "listed/file", content: "content", mode: 0o755 },
  { path: "implied/deep/file", content: Buffer.alloc(5_000, "x") },
  { path: "link", type: "symlink", linkTarget: "listed" },
  { path: "hard", type: "hardlink", linkTarget: "listed/file" },
  { path: `long/${"n".repeat(150)}/${"m".repeat(150)}`, content: "long" },
]);
const IMAGE = buildImage({ layers: [LAYER] });
const RIGHT = { layers: 1, blobs: 3, faults: [] };

let registry: FakeRegistry;
let host: StoreUnderTest;
let reference: string;
let directory: string;

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  ({ reference } = registry.add("demo/a:1", IMAGE));
  const image = await host.store.ensure(reference, NEVER);
  image.release();
  directory = image.layers[0] ?? "";
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

const verify = (repair: boolean) => host.store.admin.verify({ repair }, NEVER);
const contentPath = (digest: string) => join(host.stateDir, "content/sha256", digest.slice("sha256:".length));

test("what was pulled is right, each piece counted, and nothing is left of the looking", async () => {
  expect(await verify(false)).toEqual(RIGHT);
  expect(await verify(true)).toEqual(RIGHT);
  expect(host.layerNames()).toHaveLength(1);
  expect(await host.restart().admin.verify({ reference, repair: false }, NEVER)).toEqual(RIGHT);
});

const KEPT = { atime: 1, mtime: 2 };
test.each<[what: string, how: () => Promise<unknown>]>([
  [
    "a file with other content of the same size and time",
    async () => {
      const path = join(directory, "implied/deep/file");
      await writeFile(path, Buffer.alloc(5_000, "y"));
    },
  ],
  ["a file that is gone", () => unlink(join(directory, "implied/deep/file"))],
  ["a file too many", () => writeFile(join(directory, "implied/more"), "")],
  ["another mode", () => chmod(join(directory, "listed/file"), 0o4755)],
  ["another owner", () => chown(join(directory, "listed/file"), 0, 0)],
  ["another owner of a link", () => lchown(join(directory, "link"), 0, 0)],
  ["another time", () => utimes(join(directory, "listed/file"), KEPT.atime, KEPT.mtime)],
  ["another time of a listed directory", () => utimes(join(directory, "listed"), KEPT.atime, KEPT.mtime)],
  ["another time of a link", () => lutimes(join(directory, "link"), KEPT.atime, KEPT.mtime)],
  [
    "a link to elsewhere",
    async () => {
      await unlink(join(directory, "link"));
      await symlink("/etc", join(directory, "link"));
    },
  ],
  [
    "a directory in place of a file",
    async () => {
      await unlink(join(directory, "hard"));
      await mkdir(join(directory, "hard"));
    },
  ],
  [
    "a copy in place of a hard link",
    async () => {
      await unlink(join(directory, "hard"));
      await writeFile(join(directory, "hard"), "content", { mode: 0o755 });
    },
  ],
  [
    "an extended attribute",
    async () => {
      const script = "import os, sys; os.setxattr(sys.argv[1], 'user.evil', b'1')";
      expect(spawnSync("python3", ["-c", script, join(directory, "listed/file")]).status).toBe(0);
    },
  ],
  ["the whole layer gone", () => rm(directory, { recursive: true })],
])("%s is found, and repaired", async (_, how) => {
  await how();
  expect((await verify(false)).faults).toMatchObject([{ digest: LAYER.diffId, repaired: false }]);
  expect((await verify(true)).faults).toMatchObject([{ digest: LAYER.diffId, repaired: true }]);
  expect(await verify(false)).toEqual(RIGHT);
  expect(host.layerNames()).toHaveLength(1);
});

test("a layer that a run stands on is told and left as it is", async () => {
  const held = await host.store.ensure(reference, NEVER);
  await writeFile(join(directory, "evil"), "");
  expect((await verify(true)).faults).toMatchObject([
    { what: expect.stringMatching(/; a run or pull holds it$/), repaired: false },
  ]);
  expect(await readFile(join(directory, "evil"), "utf8")).toBe("");
  held.release();
  expect((await verify(true)).faults).toMatchObject([{ repaired: true }]);
});

test("a run that comes while its layer is replaced waits for the new one", async () => {
  await writeFile(join(directory, "evil"), "");
  const repairing = verify(true);
  let isRepaired = false;
  const repaired = repairing.then(() => {
    isRepaired = true;
  });
  while (!isRepaired) {
    const image = await host.store.ensure(reference, NEVER);
    await readFile(join(image.layers[0] ?? "", "listed/file"));
    image.release();
    await new Promise(setImmediate);
  }
  await repaired;
});

test.each([
  ["manifest", IMAGE.manifest.digest],
  ["config", IMAGE.blobs[0]?.digest ?? ""],
  ["blob", LAYER.digest],
])("a %s that rotted is found, and fetched anew", async (_, digest) => {
  const path = contentPath(digest);
  const right = await readFile(path);
  await writeFile(path, "rotten");
  expect((await verify(false)).faults).toContainEqual(
    expect.objectContaining({ digest, what: expect.stringContaining("does not have its digest"), repaired: false }),
  );
  await writeFile(path, "rotten");
  expect((await verify(true)).faults).toEqual([expect.objectContaining({ digest, repaired: true })]);
  expect(await readFile(path)).toEqual(right);
  expect(await verify(false)).toEqual(RIGHT);
});

test("a blob that is not kept is no fault, but its layer cannot be checked until a repair fetches it", async () => {
  await rm(contentPath(LAYER.digest));
  expect(await verify(false)).toMatchObject({
    layers: 1,
    blobs: 2,
    faults: [{ digest: LAYER.diffId, what: expect.stringContaining("cannot be checked without its blob") }],
  });
  expect((await verify(true)).faults).toEqual([]);
  expect(await verify(false)).toEqual(RIGHT);
});

test("what the registry no longer has cannot be repaired, which is told with the reason", async () => {
  await writeFile(contentPath(LAYER.digest), "rotten");
  registry.forget(LAYER.digest);
  const { faults } = await verify(true);
  expect(faults).toMatchObject([
    { digest: LAYER.digest, what: expect.stringMatching(/not fetched.*blobs/), repaired: false },
    { digest: LAYER.diffId, what: expect.stringContaining("cannot be checked"), repaired: false },
  ]);
});

test("a registry that lies repairs nothing", async () => {
  await rm(contentPath(LAYER.digest));
  registry.lie(LAYER.digest, Buffer.from("a lie"));
  const { faults } = await verify(true);
  expect(faults[0]).toMatchObject({ digest: LAYER.digest, repaired: false });
  expect(await host.store.admin.blob(LAYER.digest)).toBeUndefined();
});

test("an image repaired is the image it was", async () => {
  const before = imageOf(await host.store.ensure(reference, NEVER));
  await rm(directory, { recursive: true });
  await host.store.admin.verify({ reference, repair: true }, NEVER);
  expect(imageOf(await host.restart().ensure(reference, NEVER, { pull: "never" }))).toEqual(before);
});

/** A file of one hole of a TiB, as GNU tar writes it in its 1.0 form: a map of no data. */
const HOLE = {
  path: "GNUSparseFile.0/hole",
  content: Buffer.from("0\n".padEnd(512, "\0")),
  pax: {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "hole",
    "GNU.sparse.realsize": String(2 ** 40),
  },
};

async function isComparing(): Promise<boolean> {
  const children = await readFile(`/proc/self/task/${process.pid}/children`, "utf8");
  const names = children
    .trim()
    .split(" ")
    .map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => ""));
  return (await Promise.all(names)).includes("tar\n");
}

test("looking at a layer of endless holes ends with who asked for it", async () => {
  const endless = registry.add("demo/hole:1", buildImage({ layers: [buildLayer([HOLE])] })).reference;
  (await host.store.ensure(endless, NEVER)).release();
  const asking = new AbortController();
  const verified = host.store.admin.verify({ reference: endless, repair: true }, asking.signal);
  const refused = expect(verified).rejects.toThrow("nobody asks any more");
  while (!(await isComparing())); // It comes, or the test runs into its time limit.
  asking.abort(new Error("nobody asks any more"));
  await refused;
  expect(host.layerNames().filter((name) => name.startsWith("."))).toEqual([]);
  expect(await isComparing()).toBe(false);
});
