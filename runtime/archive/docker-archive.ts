// The images of an archive by `docker save` without a layout (Docker before 25, and what others call docker-archive): manifest.json
// names config and layers, by any path.
//
// No registry has seen such an image, and there is no manifest of it: one is made here, the same from the same image.

import { basename } from "node:path";
import { z } from "zod";
import { type Digest, digestOf } from "../content/digest.ts";
import { MAX_CONFIG_BYTES, parseConfig } from "../image/config.ts";
import { corrupt, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, parseJson, readDocument } from "../image/manifest.ts";
import type { Platform } from "../image/platform.ts";
import { MAX_IMAGES } from "./archive.ts";
import { type ArchivedImage, type Content, headOf } from "./archived-image.ts";
import { compressionOf, MAGIC_BYTES } from "./compression.ts";
import { readWhole, type Spool, type Spooled } from "./spool.ts";

export const DOCKER_FILE = "manifest.json";

/** More than any image has; how many it may have is the manifest's to say. */
const MAX_LISTED = 1_000;

const PATH = z.string().min(1);

const IMAGE = z.object({
  Config: PATH,
  RepoTags: z.array(z.string()).max(MAX_LISTED).nullish(),
  Layers: z.array(PATH).max(MAX_LISTED).nullish(),
});
type Image = z.infer<typeof IMAGE>;

const IMAGES = z.object({ images: z.array(IMAGE).max(MAX_IMAGES) });

/** All of them, or `image_corrupt` or `image_unsupported` for the first that cannot be read. */
export async function readDockerArchive(spool: Spool, host: Platform): Promise<ArchivedImage[]> {
  const images: ArchivedImage[] = [];
  for (const image of await readList(spool)) images.push(await readOne(image, spool, host));
  return images;
}

async function readList(spool: Spool): Promise<Image[]> {
  const bytes = await readWhole(fileOf(DOCKER_FILE, spool), DOCKER_FILE);
  return readDocument(IMAGES, { images: parseJson(bytes, DOCKER_FILE) }, DOCKER_FILE).images;
}

async function readOne({ Config, RepoTags, Layers }: Image, spool: Spool, host: Platform): Promise<ArchivedImage> {
  const config = fileOf(Config, spool);
  const named = /^(?:sha256:)?([0-9a-f]{64})(?:\.json)?$/.exec(basename(Config))?.[1];
  if (named && config.digest !== `sha256:${named}`) throw corrupt(`archive: ${Config} has digest ${config.digest}`);
  const files = (Layers ?? []).map((path) => fileOf(path, spool));
  const { diffIds } = parseConfig(await readWhole(config, "image config", MAX_CONFIG_BYTES), host, files.length);
  const layers = await Promise.all(files.map((file, index) => layerOf(file, diffIds[index])));
  const manifest = manifestOf(config, layers);
  const digest = digestOf(manifest);
  const content = new Map<Digest, Content>([config, ...files].map((file) => [file.digest, file]));
  return { names: RepoTags ?? [], digest, manifestDigest: digest, content: content.set(digest, manifest) };
}

/** What a plain tar hashes to is its DiffID; what is in a compressed one is checked when it is unpacked. */
async function layerOf(file: Spooled, diffId: Digest | undefined): Promise<{ file: Spooled; mediaType: string }> {
  const compression = compressionOf(await headOf(file, MAGIC_BYTES));
  if (compression === "none" && file.digest !== diffId) {
    throw corrupt(`archive: a layer has digest ${file.digest}, not ${diffId}`);
  }
  return { file, mediaType: OCI_LAYER[compression] };
}

/** The order of its keys is part of its digest. */
function manifestOf(config: Spooled, layers: readonly { file: Spooled; mediaType: string }[]): Buffer {
  const descriptor = (mediaType: string, { digest, size }: Spooled) => ({ mediaType, digest, size });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: descriptor(OCI_CONFIG, config),
      layers: layers.map(({ mediaType, file }) => descriptor(mediaType, file)),
    }),
  );
}

function fileOf(path: string, spool: Spool): Spooled {
  const file = spool.find(path);
  if (!file) throw corrupt(`archive: ${JSON.stringify(path)} is missing`);
  return file;
}
