// Images as `docker save` of old writes them: configs, layers as plain tars by their DiffID, and a manifest.json that names them.

import { createHash } from "node:crypto";
import { fileOf, type TarFile } from "../../core/tar-writer.ts";
import { type Digest, hexOf } from "../content/digest.ts";
import { corrupt, type LayerBlob } from "../image/manifest.ts";
import { parseReference } from "../image/reference.ts";
import type { ArchiveSource } from "./archive.ts";
import { decompress } from "./compression.ts";
import { DOCKER_FILE } from "./docker-archive.ts";
import { blobFile, openBlob, type SavedImage, verified } from "./saved-image.ts";

/** A tar says how long a file is before it begins, and a compressed layer does not say it: each is decompressed once to be measured. */
export async function planDockerArchive(
  images: readonly SavedImage[],
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<TarFile[]> {
  const layers = new Map<Digest, TarFile>();
  for (const { diffId, layer } of images.flatMap(layersOf)) {
    if (!layers.has(diffId)) layers.set(diffId, await planLayer(layer, diffId, { source, signal }));
  }
  const byConfig = [...Map.groupBy(images, ({ configDigest }) => configDigest).values()];
  return [
    fileOf(DOCKER_FILE, Buffer.from(JSON.stringify(byConfig.map(entryOf)))),
    ...byConfig.flatMap(([image]) => (image ? [fileOf(configName(image), image.config)] : [])),
    ...[...layers.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  ];
}

/** Of one image by all its names. A digest is no name here: Docker's tags are tags. */
function entryOf(images: readonly SavedImage[]): object {
  const [image] = images;
  const tags = images.flatMap(({ reference }) => {
    const { repository, tag } = parseReference(reference);
    return tag ? [`${repository.host}/${repository.path}:${tag}`] : [];
  });
  return { Config: image && configName(image), RepoTags: tags, Layers: image?.diffIds.map(layerName) };
}

function layersOf({ layers, diffIds }: SavedImage): { layer: LayerBlob; diffId: Digest }[] {
  return layers.flatMap((layer, index) => {
    const diffId = diffIds[index];
    return diffId ? [{ layer, diffId }] : [];
  });
}

async function planLayer(
  layer: LayerBlob,
  diffId: Digest,
  { source, signal }: { source: ArchiveSource; signal: AbortSignal },
): Promise<TarFile> {
  const name = layerName(diffId);
  if (layer.compression === "none") return blobFile(name, { digest: diffId, size: layer.size }, source);
  const open = async () => decompress(await openBlob(layer.digest, source), layer.compression);
  const size = await measure(await open(), diffId, signal);
  return { name, size, content: () => verified(open, { digest: diffId, size }) };
}

/** The number of bytes, or `image_corrupt` if they do not have the digest. */
async function measure(tar: AsyncIterable<Uint8Array>, digest: Digest, signal: AbortSignal): Promise<number> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of tar) {
    signal.throwIfAborted();
    hash.update(chunk);
    size += chunk.byteLength;
  }
  const actual = `sha256:${hash.digest("hex")}`;
  if (actual !== digest) throw corrupt(`a layer has digest ${actual}, not ${digest}`);
  return size;
}

const configName = ({ configDigest }: SavedImage) => `${hexOf(configDigest)}.json`;
const layerName = (diffId: Digest) => `${hexOf(diffId)}.tar`;
