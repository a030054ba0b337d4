// An archive in: read as it comes, spooled to disk, verified as a whole, and only then handed to the sink.
//
//   tar (plain, gzip, zstd) → spool: a file an entry, hashed → index.json or manifest.json → images → sink.put, sink.record
//
// Nothing that the archive says is believed: not its names, sizes or digests. What is wrong in one image keeps all of them out.

import { isMayflyError } from "../../core/errors.ts";
import { readTar, type TarEntry } from "../../core/tar-reader.ts";
import { type Digest, isDigest } from "../content/digest.ts";
import { corrupt, unsupported } from "../image/manifest.ts";
import type { Platform } from "../image/platform.ts";
import {
  ARCHIVE_LIMITS,
  type ArchiveLimits,
  type ArchiveSink,
  type NamedDigest,
  type Room,
  tarRules,
} from "./archive.ts";
import { type ArchivedImage, digestNamed } from "./archived-image.ts";
import { decompressed } from "./compression.ts";
import { DOCKER_FILE, readDockerArchive } from "./docker-archive.ts";
import { INDEX_FILE, LAYOUT_FILE, readLayout } from "./layout.ts";
import { namedImages } from "./names.ts";
import { Spool } from "./spool.ts";

export interface LoadOptions {
  /** Absolute; made if missing, of loads alone, and on the sink's file system. See `removeLeftovers` of spool.ts. */
  readonly directory: string;
  readonly platform: Platform;
  /** What to call the archive's one image, whatever it says itself. */
  readonly reference?: string | undefined;
  readonly limits?: ArchiveLimits;
  /** Asked for what is spooled; without it, the file system is the limit. */
  readonly room?: Room | undefined;
  readonly signal: AbortSignal;
}

/**
 * Loads the archive's images and answers their names. When it rejects nothing is left in `directory`, and no image was recorded
 * unless it was the sink that failed; the archive may be unread, and is its owner's to destroy.
 * Errors: `image_corrupt`, `image_unsupported`, `invalid_field` and `invalid_reference` for names; the
 * archive's, the room's and the sink's own, and those of a full disk; the signal's reason.
 */
export async function loadArchive(
  archive: AsyncIterable<Uint8Array>,
  sink: ArchiveSink,
  options: LoadOptions,
): Promise<NamedDigest[]> {
  const { directory, platform, reference, limits = ARCHIVE_LIMITS, room, signal } = options;
  signal.throwIfAborted();
  const spool = await Spool.make(directory, room);
  try {
    await fill(spool, decompressed(archive, { maxBytes: limits.bytes, signal }), limits.entries);
    const images = await readImages(spool, platform);
    const named = namedImages(images, reference);
    await put(images, sink, { room, signal });
    for (const image of named) await sink.record(image);
    return named;
  } catch (error) {
    if (!isMayflyError(error)) signal.throwIfAborted();
    throw error;
  } finally {
    await spool.remove();
  }
}

async function fill(spool: Spool, tar: AsyncIterable<Uint8Array>, maxEntries: number): Promise<void> {
  for await (const entry of readTar(tar, tarRules(maxEntries))) await keep(entry, spool);
}

async function keep({ name, type, linkTarget, content }: TarEntry, spool: Spool): Promise<void> {
  if (type === "directory") return;
  if (type !== "file") return spool.link(name, linkTarget, type);
  const { digest } = await spool.add(name, content);
  const expected = digestNamed(name);
  if (expected !== undefined && isDigest(expected) && digest !== expected) {
    throw corrupt(`archive: ${JSON.stringify(name)} has digest ${digest}`);
  }
}

/** An archive that is both is read as a layout: there the manifests are as a registry has them. */
async function readImages(spool: Spool, platform: Platform): Promise<ArchivedImage[]> {
  if (spool.find(LAYOUT_FILE) && spool.find(INDEX_FILE)) return readLayout(spool, platform);
  if (spool.find(DOCKER_FILE)) return readDockerArchive(spool, platform);
  throw unsupported(`archives without ${LAYOUT_FILE} and ${INDEX_FILE}, or ${DOCKER_FILE},`);
}

/** A layer of several images is put once: its file may be gone then. */
async function put(
  images: readonly ArchivedImage[],
  sink: ArchiveSink,
  { room, signal }: Pick<LoadOptions, "room" | "signal">,
): Promise<void> {
  const done = new Set<Digest>();
  for (const [digest, content] of images.flatMap((image) => [...image.content])) {
    signal.throwIfAborted();
    if (done.has(digest)) continue;
    await sink.put(digest, content);
    if ("path" in content) room?.landed(content.size);
    done.add(digest);
  }
}
