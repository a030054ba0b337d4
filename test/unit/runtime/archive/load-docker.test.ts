import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { digestOf, hexOf } from "../../../../runtime/content/digest.ts";
import { parseManifest } from "../../../../runtime/image/manifest.ts";
import { layoutEntries, load, makeShelf, type Shelf } from "../../../helpers/archive.ts";
import { buildImage, buildLayer } from "../../../helpers/image-builder.ts";
import { type TarEntry, tar } from "../../../helpers/tar-builder.ts";

const LAYERS = ["lower", "upper"].map((path) => buildLayer([{ path, content: path }], "none"));
const [LOWER = LAYERS[0], UPPER = LAYERS[1]] = LAYERS;
const IMAGE = buildImage({ layers: LAYERS, config: { Cmd: ["true"] } });
const CONFIG = IMAGE.blobs[0]?.bytes ?? Buffer.alloc(0);
const CONFIG_FILE = `${hexOf(digestOf(CONFIG))}.json`;

/** As Docker before 25 writes it: a directory a layer, of which one that is there twice is a link. */
function entries(layers: readonly string[], image: object = {}): TarEntry[] {
  const list = [{ Config: CONFIG_FILE, RepoTags: ["demo/a:1"], Layers: layers, ...image }];
  return [
    { path: "aa/" },
    { path: "aa/layer.tar", content: LOWER?.bytes ?? "" },
    { path: "aa/VERSION", content: "1.0" },
    { path: "bb/layer.tar", content: UPPER?.bytes ?? "" },
    { path: CONFIG_FILE, content: CONFIG },
    { path: "manifest.json", content: JSON.stringify(list) },
    { path: "repositories", content: "{}" },
  ];
}
const TWO = ["aa/layer.tar", "bb/layer.tar"];

function manifestIn(shelf: Shelf) {
  const [image] = shelf.images.values();
  return parseManifest(shelf.blobs.get(image?.manifestDigest ?? "sha256:") ?? Buffer.alloc(0));
}

test("an archive of `docker save` gives an image whose layers are the tars themselves", async () => {
  const shelf = makeShelf();
  expect(await load(tar(entries(TWO)), shelf)).toMatchObject([{ reference: "docker.io/demo/a:1" }]);
  expect(manifestIn(shelf)).toMatchObject({
    config: { digest: digestOf(CONFIG), size: CONFIG.length },
    layers: LAYERS.map(({ diffId, bytes }) => ({ digest: diffId, size: bytes.length, compression: "none" })),
  });
});

test("the manifest that is made of it is the same each time, whatever the order and the names of the files", async () => {
  const renamed = entries(["x/one.tar", "two.tar"]).map((entry) => {
    const names: Record<string, string> = { "aa/layer.tar": "x/one.tar", "bb/layer.tar": "two.tar" };
    return { ...entry, path: names[entry.path] ?? entry.path };
  });
  const digests = [await load(tar(entries(TWO))), await load(tar(renamed.toReversed()))].map(
    ([image]) => image?.digest,
  );
  expect(digests[0]).toBe(digests[1]);
});

test.each<[type: "symlink" | "hardlink", target: string]>([
  ["symlink", "../aa/layer.tar"],
  ["hardlink", "aa/layer.tar"],
])("a layer that is a %s to another is that one", async (type, linkTarget) => {
  const config = buildImage({ layers: [LAYERS[0], LAYERS[0]].flatMap((layer) => layer ?? []) }).blobs[0];
  const list = [{ Config: "c.json", RepoTags: null, Layers: ["aa/layer.tar", "bb/layer.tar"] }];
  const shelf = makeShelf();
  const archive = tar([
    { path: "bb/layer.tar", type, linkTarget },
    { path: "aa/layer.tar", content: LOWER?.bytes ?? "" },
    { path: "c.json", content: config?.bytes ?? "" },
    { path: "manifest.json", content: JSON.stringify(list) },
  ]);
  await load(archive, shelf);
  expect(manifestIn(shelf)).toMatchObject({ layers: [{ digest: LOWER?.diffId }, { digest: LOWER?.diffId }] });
});

test("a compressed layer is told by its first bytes", async () => {
  const zipped = entries(TWO).map((entry) =>
    entry.path === "aa/layer.tar" ? { ...entry, content: gzipSync(LOWER?.bytes ?? "") } : entry,
  );
  const shelf = makeShelf();
  await load(tar(zipped), shelf);
  expect(manifestIn(shelf)).toMatchObject({ layers: [{ compression: "gzip" }, { compression: "none" }] });
});

test("an archive that is a layout too is read as the layout: there the manifest is a registry's", async () => {
  const annotations = { "io.containerd.image.name": "docker.io/demo/a:1" };
  const blob = (digest: `sha256:${string}`) => `blobs/sha256/${hexOf(digest)}`;
  const list = [
    { Config: blob(digestOf(CONFIG)), RepoTags: ["demo/a:1"], Layers: LAYERS.map((layer) => blob(layer.digest)) },
  ];
  const manifest = { path: "manifest.json", content: JSON.stringify(list) };
  const both = [...layoutEntries([{ image: IMAGE, annotations }]), manifest];
  expect(await load(tar(both))).toMatchObject([{ reference: "docker.io/demo/a:1", digest: IMAGE.manifest.digest }]);
});

test.each<[what: string, image: object, reason: string, word: string]>([
  ["a layer is missing", { Layers: [...TWO.slice(1), "cc/layer.tar"] }, "image_corrupt", "cc/layer.tar"],
  ["the layers are in the wrong order", { Layers: TWO.toReversed() }, "image_corrupt", "a layer has digest"],
  ["there are fewer layers than DiffIDs", { Layers: TWO.slice(1) }, "image_corrupt", "2 diff_ids for 1 layers"],
  ["the config is a layer", { Config: "aa/layer.tar" }, "image_corrupt", "image config"],
  ["the config is outside", { Config: "../../etc/passwd" }, "image_corrupt", "leads out of it"],
  ["a tag is none", { RepoTags: ["Not A Tag"] }, "invalid_reference", "Not A Tag"],
])("an archive of `docker save` in which %s%s is refused", async (_what, image, reason, word) => {
  await expect(load(tar(entries(TWO, image)))).rejects.toMatchObject({
    reason,
    message: expect.stringContaining(word),
  });
});

test("a config that is not what its name says is refused", async () => {
  const changed = entries(TWO).map((entry) =>
    entry.path === CONFIG_FILE ? { ...entry, content: `${CONFIG} ` } : entry,
  );
  await expect(load(tar(changed))).rejects.toMatchObject({ reason: "image_corrupt" });
});
