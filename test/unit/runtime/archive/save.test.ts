import { zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { formatHeader, parseHeader } from "../../../../core/tar-header.ts";
import { readTar } from "../../../../core/tar-reader.ts";
import { tarRules } from "../../../../runtime/archive/archive.ts";
import { saveImages } from "../../../../runtime/archive/save.ts";
import { digestOf, hexOf } from "../../../../runtime/content/digest.ts";
import { inChunks, load, makeShelf, save, shelve, wholeOf } from "../../../helpers/archive.ts";
import { buildImage, buildLayer, HOST_PLATFORM } from "../../../helpers/image-builder.ts";

const NEVER = new AbortController().signal;
const LOWER = buildLayer([{ path: "lower", content: "below both" }]);
const A = buildImage({ layers: [LOWER, buildLayer([{ path: "a", content: "a" }])] });
const B = buildImage({ layers: [LOWER, buildLayer([{ path: "b", content: "b" }], "none")], format: "docker" });

function shelfOf(): ReturnType<typeof makeShelf> {
  const shelf = makeShelf();
  shelve(shelf, "demo/a:1", A);
  shelve(shelf, "demo/b:1", B);
  shelve(shelf, "demo/b:2", B);
  return shelf;
}

async function filesOf(archive: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for await (const { name, content } of readTar(inChunks(archive), tarRules(100)))
    files.set(name, await wholeOf(content));
  return files;
}

test("what is saved as a layout and loaded again has the same names and digests", async () => {
  const shelf = shelfOf();
  const again = makeShelf();
  await load(await save(shelf, ["demo/b:2", "demo/a:1", "demo/b:1", "demo/a:1"], "oci"), again);
  expect(again.images).toEqual(shelf.images);
  expect(again.blobs).toEqual(shelf.blobs);
});

test("what is saved for Docker has each layer once, as a tar under its DiffID, and each image once with all its names", async () => {
  const files = await filesOf(await save(shelfOf(), ["demo/a:1", "demo/b:1", "demo/b:2"], "docker"));
  const layers = [...A.blobs, ...B.blobs].length; // Two configs and four layers, of which one is there twice.
  expect(files.size).toBe(layers - 1 + 1);
  for (const [name, bytes] of files) {
    if (name !== "manifest.json") expect(`${hexOf(digestOf(bytes))}`).toBe(name.replace(/\.(json|tar)$/, ""));
  }
  const list = JSON.parse(String(files.get("manifest.json")));
  expect(list.map(({ RepoTags }: { RepoTags: string[] }) => RepoTags)).toEqual([
    ["docker.io/demo/a:1"],
    ["docker.io/demo/b:1", "docker.io/demo/b:2"],
  ]);
  expect(list[0].Layers[0]).toBe(`${hexOf(LOWER.diffId)}.tar`);
});

test("what is saved for Docker can be loaded, and saved again it is the same", async () => {
  const first = await save(shelfOf(), ["demo/a:1", "demo/b:1"], "docker");
  const again = makeShelf();
  await load(first, again);
  expect(await save(again, ["demo/a:1", "demo/b:1"], "docker")).toEqual(first);
});

test.each(["oci", "docker"] as const)(
  "the same images make the same bytes as %s, however they are asked for",
  async (format) => {
    const forth = await save(shelfOf(), ["demo/a:1", "demo/b:1"], format);
    expect(await save(shelfOf(), ["docker.io/demo/b:1", "demo/a:1"], format)).toEqual(forth);
  },
);

test("a layer of zstd, of several frames, is a tar for Docker", async () => {
  const plain = buildLayer([{ path: "z", content: "z".repeat(5000) }], "none");
  const bytes = Buffer.concat([
    zstdCompressSync(plain.bytes.subarray(0, 999)),
    zstdCompressSync(plain.bytes.subarray(999)),
  ]);
  const blob = {
    mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
    digest: digestOf(bytes),
    size: bytes.length,
  };
  const image = buildImage({ layers: [plain], manifestOverrides: { layers: [blob] } });
  const shelf = makeShelf();
  shelve(shelf, "z:1", image);
  shelf.blobs.set(blob.digest, bytes);
  const files = await filesOf(await save(shelf, ["z:1"], "docker"));
  expect(files.get(`${hexOf(plain.diffId)}.tar`)).toEqual(plain.bytes);
});

test.each(["oci", "docker"] as const)(
  "a blob that is gone is told before the first byte of %s, by its digest",
  async (format) => {
    const shelf = shelfOf();
    shelf.blobs.delete(LOWER.digest);
    const saving = saveImages(["demo/a:1"], format, { source: shelf, platform: HOST_PLATFORM, signal: NEVER });
    await expect(saving).rejects.toMatchObject({ reason: "image_not_present", details: { digest: LOWER.digest } });
  },
);

test("an image that is not here is told before the first byte", async () => {
  const saving = saveImages(["demo/a:1", "demo/c:1"], "oci", {
    source: shelfOf(),
    platform: HOST_PLATFORM,
    signal: NEVER,
  });
  await expect(saving).rejects.toMatchObject({ reason: "image_not_present" });
});

test("a blob that rotted does not make an archive that looks whole", async () => {
  const shelf = shelfOf();
  const rotten = Buffer.from(shelf.blobs.get(LOWER.digest) ?? "");
  rotten[20] = (rotten[20] ?? 0) ^ 1;
  shelf.blobs.set(LOWER.digest, rotten);
  await expect(save(shelf, ["demo/a:1"], "oci")).rejects.toMatchObject({ reason: "image_corrupt" });
  await expect(save(shelf, ["demo/a:1"], "docker")).rejects.toMatchObject({ reason: "image_corrupt" });
});

test("no blob is opened before it is its turn, and one at a time", async () => {
  const shelf = shelfOf();
  let open = 0;
  let most = 0;
  const counting = {
    ...shelf,
    open: async (digest: `sha256:${string}`) => {
      most = Math.max(most, ++open);
      const bytes = await shelf.open(digest);
      return (async function* () {
        yield* bytes ?? [];
        open--;
      })();
    },
  };
  const archive = await saveImages(["demo/a:1", "demo/b:1"], "oci", {
    source: counting,
    platform: HOST_PLATFORM,
    signal: NEVER,
  });
  expect(most).toBe(0);
  await wholeOf(archive);
  expect([most, open]).toEqual([1, 0]);
});

test("a save that is aborted fails with the signal's reason", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const archive = await saveImages(["demo/a:1"], "oci", { source: shelfOf(), platform: HOST_PLATFORM, signal });
  controller.abort(new Error("enough"));
  await expect(wholeOf(archive)).rejects.toThrow("enough");
});

test.each([0, 1, 511, 8 ** 11 - 1, 8 ** 11, 2 ** 40 + 3])("a header says that a file has %d bytes", (size) => {
  expect(parseHeader(formatHeader("blobs/x", size), Error)).toEqual({
    ...{ name: "blobs/x", mode: 0o644, flag: "0" },
    ...{ size, modifiedMs: 0, linkTarget: "" },
  });
});
