// One image to be saved: what it is made of, looked up before anything is written, and hashed when it is.

import { createHash } from "node:crypto";
import { MayflyError } from "../../core/errors.ts";
import type { TarFile } from "../../core/tar-writer.ts";
import type { Digest } from "../content/digest.ts";
import { parseConfig } from "../image/config.ts";
import { corrupt, type Descriptor, type LayerBlob, parseManifest } from "../image/manifest.ts";
import type { Platform } from "../image/platform.ts";
import type { ArchiveSource } from "./archive.ts";

/** Its documents are read, its blobs seen. */
export interface SavedImage {
  /** Normalised. */
  readonly reference: string;
  readonly manifestDigest: Digest;
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly configDigest: Digest;
  readonly layers: readonly LayerBlob[];
  readonly diffIds: readonly Digest[];
}

/** `image_not_present` for the image or a part of it, `image_corrupt`. */
export async function lookAt(text: string, source: ArchiveSource, platform: Platform): Promise<SavedImage> {
  const { reference, manifestDigest } = await source.resolve(text);
  const manifest = await readDocument(manifestDigest, source);
  const parsed = parseManifest(manifest);
  if (parsed.kind === "index") throw corrupt(`${manifestDigest} is an index`);
  const config = await readDocument(parsed.config.digest, source);
  const { diffIds } = parseConfig(config, platform, parsed.layers.length);
  for (const layer of parsed.layers) await checkPresent(layer, source);
  return {
    reference,
    manifestDigest,
    manifest,
    config,
    configDigest: parsed.config.digest,
    layers: parsed.layers,
    diffIds,
  };
}

/** A stored blob as a file of the archive, hashed as it goes by. */
export function blobFile(name: string, { digest, size }: Descriptor, source: ArchiveSource): TarFile {
  return { name, size, content: () => verified(() => openBlob(digest, source), { digest, size }) };
}

/** The bytes of `open`, which fail at their end if they are not what the descriptor says. */
export async function* verified(
  open: () => Promise<AsyncIterable<Uint8Array>>,
  { digest, size }: Descriptor,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let total = 0;
  for await (const chunk of await open()) {
    total += chunk.byteLength;
    if (total > size) break;
    hash.update(chunk);
    yield chunk;
  }
  const actual = `sha256:${hash.digest("hex")}`;
  if (total !== size || actual !== digest)
    throw corrupt(`${digest} is not on disk what it was: it has digest ${actual}`);
}

export async function openBlob(digest: Digest, source: ArchiveSource): Promise<AsyncIterable<Uint8Array>> {
  return (await source.open(digest)) ?? Promise.reject(missing(digest));
}

async function readDocument(digest: Digest, source: ArchiveSource): Promise<Buffer> {
  return (await source.read(digest)) ?? Promise.reject(missing(digest));
}

async function checkPresent({ digest, size }: Descriptor, source: ArchiveSource): Promise<void> {
  const stored = await source.size(digest);
  if (stored === undefined) throw missing(digest);
  if (stored !== size) throw corrupt(`${digest} has ${stored} bytes on disk, not ${size}`);
}

function missing(digest: Digest): MayflyError {
  return new MayflyError("image_not_present", `${digest} is not on this host any more: pull its image again`, {
    details: { digest },
  });
}
