// From a digest to the documents that describe its image: index → platform → manifest → config. Layers come later.
//
// A document that this host keeps is not asked for again. What was fetched is verified and handed on, to be kept once the image
// is held: before that, it could be collected again.

import { MayflyError } from "../../core/errors.ts";
import { type Digest, digestOf } from "../content/digest.ts";
import { type ContentStore, checkDigest } from "../content/store.ts";
import { MAX_CONFIG_BYTES, type ParsedConfig, parseConfig } from "./config.ts";
import { type Descriptor, type LayerBlob, type Manifest, parseManifest } from "./manifest.ts";
import { choosePlatform, formatPlatform, formatPlatforms, type Platform } from "./platform.ts";
import type { Reference, Repository } from "./reference.ts";
import type { Source } from "./sources.ts";

/** What a reference stands for, and the bytes if they came with the answer. */
export interface Named {
  readonly digest: Digest;
  readonly bytes?: Buffer;
}

export type Documents = ReadonlyMap<Digest, Buffer>;

export interface Layer extends LayerBlob {
  readonly diffId: Digest;
}

export interface ResolvedImage extends Pick<ParsedConfig, "config"> {
  /** Of what the reference names. */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  /** The lowest first. */
  readonly layers: readonly Layer[];
  /** All that the image was read from. */
  readonly documents: Documents;
}

/**
 * Asks what a tag stands for, without its content where that can be. What the registry's header says is not relied on: whatever is
 * got by that digest is checked against it.
 */
export async function fetchTag(
  { repository, tag = "" }: Reference,
  source: Source,
  signal: AbortSignal,
): Promise<Named> {
  const digest = await source.resolve(repository, tag, signal);
  if (digest) return { digest };
  const bytes = await source.manifest(repository, tag, signal);
  return { digest: digestOf(bytes), bytes };
}

export interface Resolving {
  readonly repository: Repository;
  readonly source: Source;
  readonly content: ContentStore;
  readonly platform: Platform;
  readonly signal: AbortSignal;
}

/** Errors: those of the source, `image_corrupt`, `image_unsupported`. */
export async function resolveImage({ digest, bytes }: Named, resolving: Resolving): Promise<ResolvedImage> {
  const { platform } = resolving;
  const documents = new Map(bytes ? [[digest, bytes]] : []);
  const top = parseManifest(await document({ digest }, documents, resolving));
  const chosen = top.kind === "index" ? chooseEntry(top, platform) : { digest };
  const manifest = top.kind === "index" ? parseManifest(await document(chosen, documents, resolving)) : top;
  if (manifest.kind === "index")
    throw new MayflyError("image_unsupported", "an index inside an index is not supported");
  const { config, diffIds } = parseConfig(
    await configBytes(manifest.config, documents, resolving),
    platform,
    manifest.layers.length,
  );
  return {
    digest,
    manifestDigest: chosen.digest,
    configDigest: manifest.config.digest,
    config,
    layers: manifest.layers.flatMap((blob, index) => {
      const diffId = diffIds[index];
      return diffId ? [{ ...blob, diffId }] : [];
    }),
    documents,
  };
}

/** What a reference names has no size that somebody has told. */
async function document(
  { digest, size }: Pick<Descriptor, "digest"> & Partial<Descriptor>,
  documents: Map<Digest, Buffer>,
  resolving: Resolving,
): Promise<Buffer> {
  const { repository, source, content, signal } = resolving;
  const bytes =
    documents.get(digest) ?? (await content.read(digest)) ?? (await source.manifest(repository, digest, signal));
  checkDigest(digest, bytes);
  if (size !== undefined) checkSize("manifest", size, bytes);
  documents.set(digest, bytes);
  return bytes;
}

async function configBytes(
  { digest, size }: Descriptor,
  documents: Map<Digest, Buffer>,
  { repository, source, content, signal }: Resolving,
): Promise<Buffer> {
  if (size > MAX_CONFIG_BYTES)
    throw new MayflyError("image_corrupt", `image config: larger than ${MAX_CONFIG_BYTES} bytes`);
  const bytes =
    (await content.read(digest)) ??
    (await source.smallBlob(repository, digest, { maxBytes: MAX_CONFIG_BYTES, signal }));
  checkSize("image config", size, bytes);
  checkDigest(digest, bytes);
  documents.set(digest, bytes);
  return bytes;
}

function checkSize(what: string, size: number, { length }: Buffer): void {
  if (length !== size) throw new MayflyError("image_corrupt", `${what}: ${length} bytes, not ${size}`);
}

function chooseEntry({ entries }: Manifest & { kind: "index" }, platform: Platform): Descriptor {
  const chosen = choosePlatform(entries, platform);
  if (chosen) return chosen;
  const offered = formatPlatforms(entries.map((entry) => entry.platform));
  throw new MayflyError(
    "image_unsupported",
    `the image has no variant for ${formatPlatform(platform)}; it has ${offered}`,
  );
}
