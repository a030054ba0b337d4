// Images as an OCI layout: the documents and blobs as they are, and an index.json that names them.

import { fileOf, type TarFile } from "../../core/tar-writer.ts";
import type { Digest } from "../content/digest.ts";
import { hexOf } from "../content/digest.ts";
import { type Descriptor, OCI_MANIFEST, parseJsonObject } from "../image/manifest.ts";
import type { ArchiveSource } from "./archive.ts";
import { CONTAINERD_NAME, INDEX_FILE, LAYOUT, LAYOUT_FILE, OCI_NAME } from "./layout.ts";
import { blobFile, type SavedImage } from "./saved-image.ts";

/** The two documents first, for who reads it as it comes; then the blobs by digest, once each. */
export async function planLayout(images: readonly SavedImage[], source: ArchiveSource): Promise<TarFile[]> {
  const nameOf = (digest: Digest) => `blobs/sha256/${hexOf(digest)}`;
  const blobs = new Map<Digest, TarFile>();
  for (const { manifestDigest, manifest, configDigest, config, layers } of images) {
    blobs.set(manifestDigest, fileOf(nameOf(manifestDigest), manifest));
    blobs.set(configDigest, fileOf(nameOf(configDigest), config));
    for (const layer of layers) blobs.set(layer.digest, blobFile(nameOf(layer.digest), layer, source));
  }
  const index = { schemaVersion: 2, manifests: images.map(entryOf) };
  return [
    fileOf(LAYOUT_FILE, Buffer.from(JSON.stringify(LAYOUT))),
    fileOf(INDEX_FILE, Buffer.from(JSON.stringify(index))),
    ...[...blobs.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  ];
}

/** Named in full twice: containerd and Docker look for the one, skopeo and podman for the other. */
function entryOf({ reference, manifestDigest, manifest }: SavedImage): Descriptor & Record<string, unknown> {
  const { mediaType = OCI_MANIFEST } = parseJsonObject(manifest, "manifest");
  return {
    mediaType,
    digest: manifestDigest,
    size: manifest.length,
    annotations: { [CONTAINERD_NAME]: reference, [OCI_NAME]: reference },
  };
}
