import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { layoutEntries, layoutTar, load, makeShelf } from "../../../helpers/archive.ts";
import { buildImage, buildIndex, buildLayer, HOST_PLATFORM } from "../../../helpers/image-builder.ts";
import { tar } from "../../../helpers/tar-builder.ts";

const OCI_NAME = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME = "io.containerd.image.name";

const LOWER = buildLayer([{ path: "lower", content: "the same in every image" }]);
const imageOf = (content: string, more: object = {}) =>
  buildImage({ layers: [LOWER, buildLayer([{ path: "upper", content }])], ...more });
const IMAGE = imageOf("an image");
const DIGEST = IMAGE.manifest.digest;
const ARCHIVE = layoutTar({ image: IMAGE, annotations: { [OCI_NAME]: "demo/image:1" } });

const RECORDED = { reference: "docker.io/demo/image:1", digest: DIGEST, manifestDigest: DIGEST };

test.each([
  ["plain", ARCHIVE],
  ["gzip", gzipSync(ARCHIVE)],
  ["zstd", zstdCompressSync(ARCHIVE)],
  ["of several gzip members", Buffer.concat([gzipSync(ARCHIVE.subarray(0, 700)), gzipSync(ARCHIVE.subarray(700))])],
])("a layout whose tar is %s gives the image with all its blobs under their own digests", async (_how, archive) => {
  const shelf = makeShelf();
  expect(await load(archive, shelf)).toEqual([RECORDED]);
  expect([...shelf.images.values()]).toEqual([RECORDED]);
  expect(new Set(shelf.blobs.keys())).toEqual(new Set([DIGEST, ...IMAGE.blobs.map(({ digest }) => digest)]));
});

test("the entries may come in any order, and with the names that `tar .` gives them", async () => {
  const entries = layoutEntries([{ image: IMAGE, annotations: { [OCI_NAME]: "demo/image:1" } }]);
  const dotted = entries.map((entry) => ({ ...entry, path: `./${entry.path}` }));
  const folders = ["./", "./blobs/", "./blobs/sha256/"].map((path) => ({ path }));
  expect(await load(tar([...folders, ...dotted.toReversed()]))).toEqual([RECORDED]);
});

test.each<[what: string, annotations: Record<string, string>, reference: string]>([
  ["a whole name", { [OCI_NAME]: "registry.test/a/b:1" }, "registry.test/a/b:1"],
  ["a short name with a tag", { [OCI_NAME]: "busybox:1" }, "docker.io/library/busybox:1"],
  ["only a tag", { [OCI_NAME]: "v1" }, "localhost/loaded:v1"],
  ["containerd's name, whatever else it says", { [OCI_NAME]: "v1", [CONTAINERD_NAME]: "a.test/b:v1" }, "a.test/b:v1"],
  ["nothing", {}, `localhost/loaded@${DIGEST}`],
  ["a name with its digest", { [CONTAINERD_NAME]: `a.test/b@${DIGEST}` }, `a.test/b@${DIGEST}`],
])("an image that is called %s is loaded as %s%s", async (_what, annotations, reference) => {
  expect(await load(layoutTar({ image: IMAGE, annotations }))).toMatchObject([{ reference }]);
});

test("the caller's name is the image's, whatever the archive calls it", async () => {
  const shelf = makeShelf();
  await load(ARCHIVE, shelf, { reference: "mine:2" });
  expect([...shelf.images.keys()]).toEqual(["docker.io/library/mine:2"]);
});

test("one name for an archive of two images is refused", async () => {
  const archive = layoutTar({ image: IMAGE }, { image: imageOf("another") });
  await expect(load(archive, undefined, { reference: "mine:2" })).rejects.toMatchObject({
    reason: "invalid_field",
    details: { field: "reference" },
  });
});

test("two images that share a layer are both loaded, and the layer once", async () => {
  const other = imageOf("another");
  const shelf = makeShelf(); // It refuses what is put twice.
  const archive = layoutTar(
    { image: IMAGE, annotations: { [OCI_NAME]: "a:1" } },
    { image: other, annotations: { [OCI_NAME]: "b:1" } },
    { image: other, annotations: { [OCI_NAME]: "b:2" } },
  );
  await load(archive, shelf);
  expect([...shelf.images.values()].map(({ reference, digest }) => [reference, digest])).toEqual([
    ["docker.io/library/a:1", DIGEST],
    ["docker.io/library/b:1", other.manifest.digest],
    ["docker.io/library/b:2", other.manifest.digest],
  ]);
});

const FOREIGN = { os: "linux", architecture: "s390x" };

test("of an index this host's platform is taken and the index kept, though other platforms are missing", async () => {
  const foreign = imageOf("for others", { platform: FOREIGN });
  const index = buildIndex([foreign, IMAGE]);
  const missing = [foreign.manifest, ...foreign.blobs.slice(0, 1)].map(({ digest }) => digest);
  const shelf = makeShelf();
  const entries = layoutEntries([{ image: index, annotations: { [OCI_NAME]: "many:1" } }], missing);
  expect(await load(tar(entries), shelf)).toEqual([
    { reference: "docker.io/library/many:1", digest: index.manifest.digest, manifestDigest: DIGEST },
  ]);
  expect(shelf.blobs.has(foreign.manifest.digest)).toBe(false);
});

test("of an index whose best variant is missing the next best is taken, and the index not kept: it would lead elsewhere", async () => {
  const best = imageOf("best", { platform: HOST_PLATFORM });
  const host = { ...HOST_PLATFORM };
  const index = buildIndex([{ ...best, platform: host }, IMAGE]);
  const shelf = makeShelf();
  const archive = tar(layoutEntries([{ image: index }], [best.manifest.digest]));
  expect(await load(archive, shelf)).toMatchObject([{ digest: DIGEST, manifestDigest: DIGEST }]);
  expect(shelf.blobs.has(index.manifest.digest)).toBe(false);
});

test("an index without this host's platform is refused, and told what it has", async () => {
  const index = buildIndex([imageOf("for others", { platform: FOREIGN })]);
  await expect(load(layoutTar({ image: index }))).rejects.toMatchObject({
    reason: "image_unsupported",
    message: expect.stringContaining("it has linux/s390x"),
  });
});

test("entries of one name are one image of several platforms", async () => {
  const annotations = { [OCI_NAME]: "many:1" };
  const archive = layoutTar(
    { image: imageOf("for others", { platform: FOREIGN }), annotations, more: { platform: FOREIGN } },
    { image: IMAGE, annotations, more: { platform: HOST_PLATFORM } },
  );
  expect(await load(archive)).toMatchObject([{ reference: "docker.io/library/many:1", digest: DIGEST }]);
});

test("what was attested about an image is left out", async () => {
  const attested = { image: imageOf("attested"), more: { platform: { os: "unknown", architecture: "unknown" } } };
  expect(await load(layoutTar({ image: IMAGE }, attested))).toMatchObject([{ digest: DIGEST }]);
});

test.each<[what: string, image: object, word: string]>([
  [
    "a Helm chart",
    { config: { mediaType: "application/vnd.cncf.helm.config.v1+json", digest: DIGEST, size: 1 } },
    "helm",
  ],
  ["an image of another platform", {}, "s390x"],
])("%s in an archive is refused by name", async (_what, manifestOverrides, word) => {
  const image = imageOf("no image", { manifestOverrides, platform: FOREIGN });
  await expect(load(layoutTar({ image }))).rejects.toMatchObject({
    reason: "image_unsupported",
    message: expect.stringContaining(word),
  });
});
