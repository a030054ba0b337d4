// Images out, as one archive: planned first, file by file with their sizes, and then written as it is read.
//
// The plan finds all that is missing or wrong before the first byte; while it is written every blob is hashed once more, so that
// an archive that ends well is whole. The same images make the same bytes.

import { writeTar } from "../../core/tar-writer.ts";
import type { Platform } from "../image/platform.ts";
import type { ArchiveSource } from "./archive.ts";
import { planDockerArchive } from "./save-docker.ts";
import { planLayout } from "./save-layout.ts";
import { lookAt, type SavedImage } from "./saved-image.ts";

export interface SaveOptions {
  readonly source: ArchiveSource;
  readonly platform: Platform;
  readonly signal: AbortSignal;
}

export type ArchiveFormat = "oci" | "docker";

const PLANS = { oci: planLayout, docker: planDockerArchive } as const;

/**
 * The images as one archive: `oci` is a layout, its digests those that the images have here; `docker` is what `docker load` of any
 * version reads, its layers not compressed. When it resolves nothing is written yet, and it takes no memory but a chunk's.
 * Errors before the first byte: `image_not_present` that names the image or the digest, `image_corrupt`, the signal's reason.
 */
export async function saveImages(
  references: readonly string[],
  format: ArchiveFormat,
  { source, platform, signal }: SaveOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const images: SavedImage[] = [];
  for (const reference of new Set(references)) {
    signal.throwIfAborted();
    images.push(await lookAt(reference, source, platform));
  }
  const sorted = uniquely(images).toSorted((a, b) => (a.reference < b.reference ? -1 : 1));
  return writeTar(await PLANS[format](sorted, source, signal), signal);
}

function uniquely(images: readonly SavedImage[]): SavedImage[] {
  return [...new Map(images.map((image) => [image.reference, image])).values()];
}
