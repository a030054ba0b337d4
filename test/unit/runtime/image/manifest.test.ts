import fc from "fast-check";
import { expect, test } from "vitest";
import { isMayflyError } from "../../../../core/errors.ts";
import { parseManifest } from "../../../../runtime/image/manifest.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OCI = "application/vnd.oci.image";
const DOCKER = "application/vnd.docker.distribution";

const descriptor = (mediaType: string, more: object = {}) => ({ mediaType, digest: DIGEST, size: 7, ...more });
const CONFIG = descriptor(`${OCI}.config.v1+json`);
const LAYER = descriptor(`${OCI}.layer.v1.tar+gzip`);
const MANIFEST = { schemaVersion: 2, config: CONFIG, layers: [LAYER] };

const parse = (value: unknown) => parseManifest(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));

test("a manifest without a media type of its own is known by its shape", () => {
  expect(parse(MANIFEST)).toEqual({
    kind: "manifest",
    config: expect.objectContaining({ digest: DIGEST, size: 7 }),
    layers: [{ digest: DIGEST, size: 7, compression: "gzip" }],
  });
});

test.each([
  [`${OCI}.layer.v1.tar`, "none"],
  [`${OCI}.layer.v1.tar+gzip`, "gzip"],
  [`${OCI}.layer.v1.tar+zstd`, "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
])("a layer of type %s is read as a tar with compression %j", (mediaType, compression) => {
  expect(parse({ ...MANIFEST, layers: [descriptor(mediaType)] })).toMatchObject({ layers: [{ compression }] });
});

test("entries of an index that are no images are left out", () => {
  const image = {
    ...descriptor(`${OCI}.manifest.v1+json`),
    platform: { os: "linux", architecture: "arm", variant: "v7" },
  };
  const attestation = descriptor(`${OCI}.manifest.v1+json`);
  const nested = { ...descriptor(`${OCI}.index.v1+json`), platform: { os: "linux", architecture: "amd64" } };
  const index = parse({ schemaVersion: 2, manifests: [attestation, nested, image] });
  expect(index).toMatchObject({ kind: "index", entries: [{ platform: { architecture: "arm", variant: "v7" } }] });
});

test.each([
  ["manifests", { schemaVersion: 2, manifests: Array(20_000).fill({}) }],
  ["layers", { ...MANIFEST, layers: Array(20_000).fill({}) }],
])("a list of %s that is too long is refused as one fault, and its elements are not looked at", (field, document) => {
  const parsed = (() => {
    try {
      return parse(document);
    } catch (error) {
      return error;
    }
  })();
  expect(parsed).toMatchObject({
    reason: "image_corrupt",
    message: expect.stringMatching(new RegExp(`${field}: .*1000`)),
  });
});

test.each([
  ["a layer", (type: string) => ({ ...MANIFEST, layers: [descriptor(type)] })],
  ["a document", (type: string) => ({ ...MANIFEST, mediaType: type })],
  ["an artifact", (type: string) => ({ ...MANIFEST, config: CONFIG, artifactType: type, layers: [descriptor(type)] })],
  ["a config", (type: string) => ({ ...MANIFEST, config: descriptor(type) })],
])("the type of %s that is refused is quoted in part, and without what a terminal would obey", (_what, documentOf) => {
  const refused = () => parse(documentOf(`x\x1b[2J\n\u009b${"y".repeat(100_000)}`));
  expect(refused).toThrow(/^[\x20-\x7e…]{1,300}$/);
  expect(refused).toThrow('"x [2J yyy');
});

test.each([
  ["nested", `{"x":${"[".repeat(2_000_000)}${"]".repeat(2_000_000)}}`],
  ["nested, and cut off", "[".repeat(4_000_000)],
  ["in one object", `{${Array.from({ length: 300_000 }, (_, n) => `"k${n}":1`).join()}}`],
  ["in one list", `{"x":[${"1,".repeat(2_000_000)}1]}`],
])("a document of very many values, %s, is not parsed: it would hold up all runs of the host", (_what, text) => {
  expect(() => parse(text)).toThrow(/more than 50000 values/);
});

test("what stands in strings counts as nothing, quotes and all", () => {
  const annotations = { text: '{[:,"\\'.repeat(100_000), more: "\\" };
  expect(parse({ ...MANIFEST, annotations })).toMatchObject({ kind: "manifest" });
});

test.each([
  ["not JSON", "{", "image_corrupt", "not JSON"],
  ["an array", [], "image_corrupt", "not a JSON object"],
  ["null", null, "image_corrupt", "not a JSON object"],
  ["empty", {}, "image_corrupt", "schemaVersion"],
  ["a manifest and an index at once", { ...MANIFEST, manifests: [] }, "image_corrupt", "both"],
  ["of schema 1", { schemaVersion: 1, fsLayers: [] }, "image_unsupported", "schema 1"],
  [
    "a manifest that calls itself an index",
    { ...MANIFEST, mediaType: `${OCI}.index.v1+json` },
    "image_unsupported",
    "index.v1+json",
  ],
  [
    "an index that calls itself a manifest",
    { schemaVersion: 2, manifests: [], mediaType: `${DOCKER}.manifest.v2+json` },
    "image_unsupported",
    "manifest.v2",
  ],
  [
    "a Helm chart",
    { ...MANIFEST, config: descriptor("application/vnd.cncf.helm.config.v1+json") },
    "image_unsupported",
    "helm",
  ],
  [
    "an artifact without a config",
    { ...MANIFEST, config: descriptor("application/vnd.oci.empty.v1+json"), artifactType: "application/vnd.x.sbom" },
    "image_unsupported",
    "application/vnd.x.sbom",
  ],
  [
    "an artifact in a manifest of its own type",
    { mediaType: "application/vnd.oci.artifact.manifest.v1+json", blobs: [] },
    "image_unsupported",
    "artifact.manifest",
  ],
  [
    "a WASM module",
    { ...MANIFEST, config: descriptor("application/vnd.wasm.config.v0+json") },
    "image_unsupported",
    '"application/vnd.wasm.config.v0+json"',
  ],
  [
    "a signature of cosign",
    { ...MANIFEST, layers: [descriptor("application/vnd.dev.cosign.simplesigning.v1+json")] },
    "image_unsupported",
    '"application/vnd.dev.cosign.simplesigning.v1+json"',
  ],
  [
    "of encrypted layers",
    { ...MANIFEST, layers: [descriptor(`${OCI}.layer.v1.tar+gzip+encrypted`)] },
    "image_unsupported",
    'gzip+encrypted" is not supported: it is encrypted',
  ],
  [
    "of layers that may not be distributed",
    { ...MANIFEST, layers: [descriptor(`${OCI}.layer.nondistributable.v1.tar+zstd`)] },
    "image_unsupported",
    "not distributed with the image",
  ],
  [
    "of foreign layers",
    { ...MANIFEST, layers: [descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")] },
    "image_unsupported",
    'foreign.diff.tar.gzip" is not supported: it is not distributed with the image',
  ],
  [
    "of a layer type that an object inherits",
    { ...MANIFEST, layers: [descriptor("constructor")] },
    "image_unsupported",
    "constructor",
  ],
  ["of too many layers", { ...MANIFEST, layers: Array(128).fill(LAYER) }, "image_unsupported", "127"],
  ["of a negative size", { ...MANIFEST, layers: [{ ...LAYER, size: -1 }] }, "image_corrupt", "layers.0.size"],
  [
    "of a size that is no whole number",
    { ...MANIFEST, layers: [{ ...LAYER, size: 1.5 }] },
    "image_corrupt",
    "layers.0.size",
  ],
  [
    "of a digest that climbs",
    { ...MANIFEST, config: { ...CONFIG, digest: "sha256:../../x" } },
    "image_corrupt",
    "config.digest",
  ],
])("a document that is %s is refused by name", (_what, value, reason, word) => {
  expect(() => parse(value)).toThrow(expect.objectContaining({ reason, message: expect.stringContaining(word) }));
});

test("any document is read or refused with an error of ours", () => {
  const noise = fc.dictionary(
    fc.constantFrom("schemaVersion", "config", "layers", "manifests", "mediaType"),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(noise, (document) => {
      try {
        parse(document);
      } catch (error) {
        expect(isMayflyError(error)).toBe(true);
      }
    }),
  );
});
