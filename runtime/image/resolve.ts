// From a reference to the documents that describe its image: index → platform → manifest → config. Layers come later.
//
// Every document is kept in the content store under its digest, so a second time nothing is asked of the registry.

import { MayflyError } from "../../core/errors.ts";
import { type Digest, digestOf } from "../content/digest.ts";
import type { ContentStore } from "../content/store.ts";
import type { RegistryClient } from "../registry/client.ts";
import { MAX_CONFIG_BYTES, type ParsedConfig, parseConfig } from "./config.ts";
import { type Descriptor, type LayerBlob, type Manifest, parseManifest } from "./manifest.ts";
import { choosePlatform, formatPlatform, type Platform } from "./platform.ts";
import { formatReference, type Reference, type Repository } from "./reference.ts";
import type { TagStore } from "./tags.ts";

export interface Sources {
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly tags: TagStore;
  readonly platform: Platform;
}

export interface ResolvedImage extends ParsedConfig {
  /** Of what the reference names. */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly layers: readonly LayerBlob[];
}

/**
 * Resolves a reference; a tag that this host has resolved before keeps its digest ("missing" in Docker's words).
 * Errors: those of the registry, `image_corrupt`, `image_unsupported`.
 */
export async function resolveImage(
  reference: Reference,
  sources: Sources,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const { repository } = reference;
  const digest =
    reference.digest ??
    (await sources.tags.read(formatReference(reference))) ??
    (await fetchTag(reference, sources, signal));
  const top = parseManifest(await document(repository, digest, { sources, signal }));
  const chosen = top.kind === "index" ? chooseEntry(top, sources.platform) : { digest };
  const manifest =
    top.kind === "index" ? parseManifest(await document(repository, chosen.digest, { sources, signal })) : top;
  if (manifest.kind === "index")
    throw new MayflyError("image_unsupported", "an index inside an index is not supported");
  const config = await configBytes(repository, manifest.config, { sources, signal });
  return {
    digest,
    manifestDigest: chosen.digest,
    layers: manifest.layers,
    ...parseConfig(config, sources.platform, manifest.layers.length),
  };
}

interface Asking {
  readonly sources: Sources;
  readonly signal: AbortSignal;
}

/** What the registry's header says is not relied on: whatever is got by that digest is checked against it. */
async function fetchTag(
  { repository, tag = "" }: Reference,
  { client, content }: Sources,
  signal: AbortSignal,
): Promise<Digest> {
  const resolved = await client.resolve(repository, tag, signal);
  if (resolved) return resolved;
  const bytes = await client.manifest(repository, tag, signal);
  const digest = digestOf(bytes);
  await content.write(digest, bytes);
  return digest;
}

async function document(repository: Repository, digest: Digest, { sources, signal }: Asking): Promise<Buffer> {
  const kept = await sources.content.read(digest);
  if (kept) return kept;
  const bytes = await sources.client.manifest(repository, digest, signal);
  await sources.content.write(digest, bytes);
  return bytes;
}

async function configBytes(
  repository: Repository,
  { digest, size }: Descriptor,
  { sources, signal }: Asking,
): Promise<Buffer> {
  if (size > MAX_CONFIG_BYTES)
    throw new MayflyError("image_corrupt", `image config: larger than ${MAX_CONFIG_BYTES} bytes`);
  const kept = await sources.content.read(digest);
  const bytes = kept ?? (await sources.client.smallBlob(repository, digest, { maxBytes: MAX_CONFIG_BYTES, signal }));
  if (bytes.length !== size) throw new MayflyError("image_corrupt", `image config: ${bytes.length} bytes, not ${size}`);
  if (!kept) await sources.content.write(digest, bytes);
  return bytes;
}

function chooseEntry({ entries }: Manifest & { kind: "index" }, platform: Platform): Descriptor {
  const chosen = choosePlatform(entries, platform);
  if (chosen) return chosen;
  const offered = entries.map((entry) => formatPlatform(entry.platform)).join(", ") || "nothing";
  throw new MayflyError(
    "image_unsupported",
    `the image has no variant for ${formatPlatform(platform)}; it has ${offered}`,
  );
}
