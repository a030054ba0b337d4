// The images that are pulled: files of this machine's own /usr, because what people pull is programs and libraries, in layers of
// about one size. They are kept, as compressing them takes longer than pulling them.

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import { run } from "../../../infra/command.ts";
import { runLong } from "../long-command.ts";
import type { Workshop } from "../workshop.ts";

export interface PullImage {
  readonly name: "five-gzip" | "one-gzip" | "five-zstd";
  readonly layers: number;
  readonly compression: "gzip" | "zstd";
}

export const PULL_IMAGES: readonly PullImage[] = [
  { name: "five-gzip", layers: 5, compression: "gzip" },
  { name: "one-gzip", layers: 1, compression: "gzip" },
  { name: "five-zstd", layers: 5, compression: "zstd" },
];

/** To be raised when what is made of the same files changes. */
const RECIPE = 2;
const SOURCE = "/usr";
/** A single file of this size would be a layer of its own. */
const MAX_FILE_BYTES = 16 * 2 ** 20;

/** `bytes` is what the content of all layers takes before it is compressed. Answers its reference in the workshop's registry. */
export async function pushPullImage(
  workshop: Workshop,
  image: PullImage,
  { bytes, cacheDir }: { bytes: number; cacheDir: string },
): Promise<string> {
  const layout = join(cacheDir, `pull-${image.name}-${bytes}-${RECIPE}`);
  if (!existsSync(layout)) await makeLayout(layout, image, bytes);
  const reference = `${workshop.registry}/pull/${image.name}:latest`;
  await runLong([
    ...(["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"] as const),
    `oci:${layout}:latest`,
    `docker://${reference}`,
  ]);
  return reference;
}

/** Under a temporary name first: what is there is whole. */
async function makeLayout(layout: string, { layers, compression }: PullImage, bytes: number): Promise<void> {
  await mkdir(dirname(layout), { recursive: true });
  const work = await mkdtemp(`${layout}-work-`);
  try {
    const oci = join(work, "oci");
    await mkdir(join(oci, "blobs/sha256"), { recursive: true });
    const descriptors: { layer: Descriptor; diffId: string }[] = [];
    for (const names of await chooseFiles(work, layers, bytes))
      descriptors.push(await makeLayer(work, names, compression));
    await writeDocuments(oci, descriptors);
    await rename(oci, layout);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** By the hash of their names, so that every layer has a little of everything, and always the same. */
async function chooseFiles(work: string, layers: number, bytes: number): Promise<string[][]> {
  const chosen: string[][] = Array.from({ length: layers }, () => []);
  let taken = 0;
  for (const { path, size } of await shuffledFiles(work)) {
    chosen[Math.min(layers - 1, Math.floor((taken / bytes) * layers))]?.push(path);
    taken += size;
    if (taken >= bytes) return chosen;
  }
  return chosen; // A machine that has less than that: the image is smaller, and everybody's is.
}

async function shuffledFiles(work: string): Promise<{ path: string; size: number }[]> {
  const list = join(work, "files");
  await runLong([
    ...(["find", SOURCE, "-xdev", "-type", "f", "-size", `-${MAX_FILE_BYTES}c`] as const),
    ...["-fprintf", list, "%s %p\\0"],
  ]);
  return (await readFile(list, "utf8"))
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => {
      const path = line.slice(line.indexOf(" ") + 1);
      return { path, size: Number.parseInt(line, 10), rank: createHash("sha256").update(path).digest("hex") };
    })
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1));
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

async function makeLayer(work: string, files: readonly string[], compression: PullImage["compression"]) {
  const list = join(work, "list");
  const tar = join(work, "layer.tar");
  const directories = new Set(files.flatMap(parentsOf));
  await writeFile(
    list,
    [...directories, ...files]
      .toSorted()
      .map((path) => `${path.slice(1)}\0`)
      .join(""),
  );
  await runLong([
    ...(["tar", "--create", "--directory=/", "--no-recursion", "--null", "--numeric-owner"] as const),
    ...[`--file=${tar}`, `--files-from=${list}`],
  ]);
  const diffId = await digestOf(tar);
  const packed = join(work, "layer.packed");
  const compress = compression === "gzip" ? createGzip({ level: 6 }) : createZstdCompress();
  await pipeline(createReadStream(tar), compress, createWriteStream(packed));
  return { layer: await blobOf(work, packed, `application/vnd.oci.image.layer.v1.tar+${compression}`), diffId };
}

function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === "/" ? [] : [parent, ...parentsOf(parent)];
}

async function writeDocuments(oci: string, layers: readonly { layer: Descriptor; diffId: string }[]): Promise<void> {
  const config = await documentOf(oci, "application/vnd.oci.image.config.v1+json", {
    os: "linux",
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    config: { Cmd: ["/usr/bin/true"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = { schemaVersion: 2, mediaType, config, layers: layers.map(({ layer }) => layer) };
  const top = await documentOf(oci, mediaType, manifest);
  const annotations = { "org.opencontainers.image.ref.name": "latest" };
  await writeFile(join(oci, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [{ ...top, annotations }] }));
  await writeFile(join(oci, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

async function documentOf(oci: string, mediaType: string, document: unknown): Promise<Descriptor> {
  const path = join(oci, "document");
  await writeFile(path, JSON.stringify(document));
  return blobOf(dirname(oci), path, mediaType);
}

/** Moves the file to where its digest says. */
async function blobOf(work: string, path: string, mediaType: string): Promise<Descriptor> {
  const digest = await digestOf(path);
  const { size } = await lstat(path);
  await rename(path, join(work, "oci/blobs/sha256", digest.slice("sha256:".length)));
  return { mediaType, digest, size };
}

async function digestOf(path: string): Promise<string> {
  return `sha256:${(await run(["sha256sum", path])).slice(0, 64)}`;
}
