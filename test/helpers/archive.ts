// Archives built in code, and a shelf of images in memory that they are loaded into and saved from.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MayflyError } from "../../core/errors.ts";
import type { ArchiveLimits, ArchiveSink, ArchiveSource, NamedDigest } from "../../runtime/archive/archive.ts";
import { loadArchive } from "../../runtime/archive/load.ts";
import { type ArchiveFormat, saveImages } from "../../runtime/archive/save.ts";
import { type Digest, digestOf, hexOf } from "../../runtime/content/digest.ts";
import { formatReference, parseReference } from "../../runtime/image/reference.ts";
import { type BuiltImage, type BuiltIndex, HOST_PLATFORM } from "./image-builder.ts";
import { type TarEntry, tar } from "./tar-builder.ts";

export interface Shelf extends ArchiveSink, ArchiveSource {
  readonly blobs: Map<Digest, Buffer>;
  readonly images: Map<string, NamedDigest>;
}

/** It refuses what does not have its digest, and an image of which something is missing. */
export function makeShelf(): Shelf {
  const blobs = new Map<Digest, Buffer>();
  const images = new Map<string, NamedDigest>();
  return {
    blobs,
    images,
    async put(digest, content) {
      const bytes = content instanceof Uint8Array ? Buffer.from(content) : readFileSync(content.path);
      if (digestOf(bytes) !== digest) throw new Error(`${digest} was put with other bytes`);
      if (blobs.has(digest)) throw new Error(`${digest} was put twice`);
      blobs.set(digest, bytes);
    },
    async record(image) {
      if (!blobs.has(image.digest) || !blobs.has(image.manifestDigest)) throw new Error("recorded before it was put");
      images.set(image.reference, image);
    },
    async resolve(reference) {
      const image = images.get(formatReference(parseReference(reference)));
      if (!image) throw new MayflyError("image_not_present", `${reference} is not here`);
      return image;
    },
    read: async (digest) => blobs.get(digest),
    size: async (digest) => blobs.get(digest)?.length,
    open: async (digest) => chunksOf(blobs.get(digest)),
  };
}

const CHUNK = 10_000;

function chunksOf(bytes: Buffer | undefined): AsyncIterable<Uint8Array> | undefined {
  return bytes && inChunks(bytes, CHUNK);
}

export async function* inChunks(bytes: Buffer, length = CHUNK): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** Puts an image on a shelf, as a pull would. */
export function shelve(shelf: Shelf, name: string, image: BuiltImage): NamedDigest {
  for (const { digest, bytes } of [image.manifest, ...image.blobs]) shelf.blobs.set(digest, bytes);
  const reference = formatReference(parseReference(name));
  const { digest } = image.manifest;
  const named = { reference, digest, manifestDigest: digest };
  shelf.images.set(reference, named);
  return named;
}

export interface Loading {
  readonly reference?: string;
  readonly limits?: ArchiveLimits;
  readonly signal?: AbortSignal;
}

/** Loads the archive; fails if the load left anything in its directory, however it ended. */
export async function load(
  archive: Buffer | AsyncIterable<Uint8Array>,
  shelf: ArchiveSink = makeShelf(),
  { signal = new AbortController().signal, ...options }: Loading = {},
): Promise<NamedDigest[]> {
  const parent = mkdtempSync(join(tmpdir(), "mayfly-archive-"));
  const directory = join(parent, "archives");
  const bytes = Buffer.isBuffer(archive) ? inChunks(archive) : archive;
  const loaded = await Promise.allSettled([
    loadArchive(bytes, shelf, { directory, platform: HOST_PLATFORM, signal, ...options }),
  ]);
  const left = existsSync(directory) ? readdirSync(directory) : [];
  rmSync(parent, { recursive: true });
  if (left.length > 0) throw new Error(`the load left ${left.join(", ")}`);
  if (loaded[0].status === "rejected") throw loaded[0].reason;
  return loaded[0].value;
}

export async function save(shelf: Shelf, references: readonly string[], format: ArchiveFormat): Promise<Buffer> {
  const { signal } = new AbortController();
  return wholeOf(await saveImages(references, format, { source: shelf, platform: HOST_PLATFORM, signal }));
}

export async function wholeOf(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export interface LayoutEntry {
  readonly image: BuiltImage | BuiltIndex;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of index.json's entry, besides what it must have. */
  readonly more?: object;
}

/** The entries of an OCI layout. With `without`, blobs of these digests are left out. */
export function layoutEntries(entries: readonly LayoutEntry[], without: readonly Digest[] = []): TarEntry[] {
  const manifests = entries.map(({ image, annotations, more }) => {
    const { mediaType, digest, bytes } = image.manifest;
    return { mediaType, digest, size: bytes.length, ...(annotations ? { annotations } : {}), ...more };
  });
  const parts = entries.flatMap(({ image }) => ("images" in image ? [image, ...image.images] : [image]));
  const blobs = parts.flatMap((part) => [part.manifest, ...("blobs" in part ? part.blobs : [])]);
  const files = new Map(blobs.map(({ digest, bytes }) => [digest, bytes]));
  for (const digest of without) files.delete(digest);
  return [
    { path: "oci-layout", content: '{"imageLayoutVersion": "1.0.0"}' },
    { path: "index.json", content: JSON.stringify({ schemaVersion: 2, manifests }) },
    ...[...files].map(([digest, content]) => ({ path: `blobs/sha256/${hexOf(digest)}`, content })),
  ];
}

export function layoutTar(...entries: readonly LayoutEntry[]): Buffer {
  return tar(layoutEntries(entries));
}
