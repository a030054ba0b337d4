// What an operator may ask of the images of one host, and do to them.

import type { ImageInfo, ImageInspection, ImageUsage, Reclaimed, Verified } from "../../core/images.ts";

/** A reference names an image by any of its names; `image_not_present` if this host has none of that name. */
export interface ImageAdmin {
  /** The least recently used first. */
  list(): Promise<ImageInfo[]>;
  inspect(reference: string): Promise<ImageInspection>;
  /** Takes the name away, and with the last name what only this image needs. `image_in_use` while it is held or pinned. */
  remove(reference: string): Promise<Reclaimed>;
  /** A pinned image is left alone by garbage collection, pruning and removal. */
  pin(reference: string, pinned: boolean): Promise<void>;
  /** Removes every image that is neither held nor pinned and was not used for so long. */
  prune(options: { readonly unusedForMs: number }): Promise<Reclaimed>;
  /** Reads everything again, of one image or all. With `repair`, what is wrong is made anew from what is right, or fetched. */
  verify(options: { readonly reference?: string; readonly repair: boolean }, signal: AbortSignal): Promise<Verified>;
  usage(): Promise<ImageUsage>;
  /** A blob that is here, for other hosts of the cluster and for archives: its file and size. */
  blob(digest: string): Promise<{ readonly path: string; readonly size: number } | undefined>;
  /**
   * An archive (OCI layout or `docker save`, plain or compressed) in: answers the references it gave.
   * With `reference`, the one image of the archive is called so. Errors: `image_corrupt`, `image_unsupported`, `invalid_field`.
   */
  load(
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options?: { readonly reference?: string | undefined },
  ): Promise<string[]>;
  /** The images as one archive. Errors come before the first byte. They are held until it has been read, or its reading broken off, or the signal aborts. */
  save(
    references: readonly string[],
    format: "oci" | "docker",
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>;
}
