// Images in one file: what an archive is read into and made from, and how much of it is taken.
//
// Two formats are known. An OCI layout (image-spec, image-layout.md) has every document and layer under its digest, as a registry
// does. `docker save` of old has configs and uncompressed layers, and no manifest at all; newer ones are a layout besides.

import { MayflyError } from "../../core/errors.ts";
import type { TarRules } from "../../core/tar-reader.ts";
import type { Digest } from "../content/digest.ts";
import { corrupt } from "../image/manifest.ts";

/** A name, and what it stands for. */
export interface NamedDigest {
  /** Normalised. */
  readonly reference: string;
  /** Of an index if there is one, else of the manifest. */
  readonly digest: Digest;
  /** Of the manifest for this host. */
  readonly manifestDigest: Digest;
}

/** Where the images of an archive go. Nothing is put before all of the archive has been verified. */
export interface ArchiveSink {
  /** Keeps what has this digest: bytes, or a file on the sink's own file system, which it may rename away. Once for each digest. */
  put(digest: Digest, content: Uint8Array | { readonly path: string }): Promise<void>;
  /** Called when all that the image needs has been put. */
  record(image: NamedDigest): Promise<void>;
}

/** Room on the sink's disk. */
export interface Room {
  /** Takes so much more of it, or fails with `host_unavailable`. */
  take(bytes: number): Promise<void>;
  /** So much of it is the sink's now, and counted there. */
  landed(bytes: number): void;
}

/** What an archive is made of. Its images are to be held while it is written: nothing of them may go. */
export interface ArchiveSource {
  /** `image_not_present`, `invalid_reference`. */
  resolve(reference: string): Promise<Pick<NamedDigest, "reference" | "manifestDigest">>;
  /** A document, verified, or undefined if it is not here. */
  read(digest: Digest): Promise<Buffer | undefined>;
  /** Of a blob that is here. */
  size(digest: Digest): Promise<number | undefined>;
  /** The bytes as they are on disk. */
  open(digest: Digest): Promise<AsyncIterable<Uint8Array> | undefined>;
}

export interface ArchiveLimits {
  /** Of the archive as it comes, and again of what is in it if it is compressed; what is spooled on disk is less than that. */
  readonly bytes: number;
  /** Headers of its tar: files, directories, links, and those that only extend another. */
  readonly entries: number;
}

/** Three layers as large as one may be; `docker save` writes four entries a layer, and there are at most 127 of them. */
export const ARCHIVE_LIMITS: ArchiveLimits = { bytes: 64 * 2 ** 30, entries: 20_000 };

/** Images of one archive; each is a document to be read, and names to be recorded. */
export const MAX_IMAGES = 1_000;

export function tooLarge(what: string): MayflyError {
  return new MayflyError("image_unsupported", `an archive of more than ${what} is not supported`);
}

/** How a tar of images that cannot be read is told. */
export const tarRules = (maxEntries: number): TarRules => ({
  maxEntries,
  broken: (what) => corrupt(`archive: ${what}`),
  tooMany: (entries) => tooLarge(`${entries} entries`),
});
