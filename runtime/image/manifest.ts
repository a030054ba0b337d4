// Manifests and indexes, OCI's and Docker's (image-spec manifest.md and image-index.md; Docker image manifest v2, schema 2).
//
// The bytes are foreign: they are at most 4 MiB of anything. What a document is, is told by its shape; a media type that
// contradicts it is refused, because two readers could then see two images under one digest.

import { z } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { type Digest, isDigest } from "../content/digest.ts";
import type { Compression } from "../layer/descriptor.ts";
import { quoted } from "./foreign-text.ts";
import { hasTooManyParts, MAX_JSON_PARTS } from "./json-parts.ts";
import type { Platform } from "./platform.ts";

export interface Descriptor {
  readonly digest: Digest;
  readonly size: number;
}

export interface LayerBlob extends Descriptor {
  readonly compression: Compression;
}

export type Manifest =
  | { readonly kind: "index"; readonly entries: readonly (Descriptor & { readonly platform: Platform })[] }
  | { readonly kind: "manifest"; readonly config: Descriptor; readonly layers: readonly LayerBlob[] };

/** As many as Docker takes. */
const MAX_LAYERS = 127;

/** Of these two is what Mayfly writes itself. */
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";

export const INDEX_TYPES: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
export const MANIFEST_TYPES: readonly string[] = [OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG_TYPES: readonly string[] = [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];

/** What OCI calls a layer of each compression. `zstd:chunked` has no type of its own: what it adds are frames that zstd skips. */
export const OCI_LAYER: Readonly<Record<Compression, string>> = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

const COMPRESSION: ReadonlyMap<string, Compression> = new Map([
  [OCI_LAYER.none, "none"],
  [OCI_LAYER.gzip, "gzip"],
  [OCI_LAYER.zstd, "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
]);

/** Why a layer of such a type cannot be had, where its name tells. */
const UNREADABLE_LAYERS: readonly (readonly [RegExp, string])[] = [
  [/\+encrypted$/, ": it is encrypted"],
  [/\.nondistributable\.|\.foreign\./, ": it is not distributed with the image"],
];

/** Platforms of one index; the images with most have a few dozen, and as many attestations. */
const MAX_ENTRIES = 1_000;
/** Above overlayfs' limit, so that an image with somewhat too many layers is told as unsupported, not as corrupt. */
const MAX_LISTED_LAYERS = 1_000;

const DESCRIPTOR = z.object({
  mediaType: z.string(),
  digest: z.string().refine(isDigest, "not a sha256 digest"),
  size: z.int().nonnegative(),
});

const ENTRY = DESCRIPTOR.extend({
  platform: z.object({ os: z.string(), architecture: z.string(), variant: z.string().nullish() }).nullish(),
});

const INDEX = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(ENTRY).max(MAX_ENTRIES),
});

const MANIFEST = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  /** Says what an artifact is whose config is empty (image-spec, manifest.md, "Guidelines for artifact usage"). */
  artifactType: z.string().optional(),
  config: DESCRIPTOR,
  // Longer lists are cut off here, before each of their elements is looked at: that would take seconds for a hostile one.
  layers: z.array(DESCRIPTOR).max(MAX_LISTED_LAYERS),
});

/**
 * Reads a manifest or an index. `image_unsupported` names the media type that is not an image's, or not yet readable;
 * `image_corrupt` names the field that is wrong.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const document = parseJsonObject(bytes, "manifest");
  if (document.schemaVersion === 1) throw unsupported("Docker image manifests of schema 1");
  if (typeof document.mediaType === "string") requireType(document.mediaType, [...INDEX_TYPES, ...MANIFEST_TYPES]);
  if ("manifests" in document && ("layers" in document || "config" in document)) {
    throw corrupt("manifest: both an index and a manifest");
  }
  return "manifests" in document ? readIndex(document) : readManifest(document);
}

/** A JSON object of a foreign document, or `image_corrupt`. */
export function parseJsonObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  const document = parseJson(bytes, what);
  if (isObject(document)) return document;
  throw corrupt(`${what}: not a JSON object`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Any JSON of a foreign document, or `image_corrupt`. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  if (hasTooManyParts(bytes)) throw corrupt(`${what}: more than ${MAX_JSON_PARTS} values`);
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new MayflyError("image_corrupt", `${what}: not JSON`, { cause });
  }
}

/** The value as the schema reads it, or `image_corrupt` that names the first wrong field. */
export function readDocument<T>(schema: z.ZodType<T>, document: unknown, what: string): T {
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw corrupt(`${what}: ${issue?.path.join(".")}: ${issue?.message}`);
}

export function unsupported(what: string): MayflyError {
  return new MayflyError("image_unsupported", `${what} are not supported`);
}

/** Entries without a platform are not images to be run: attestations, signatures. */
function readIndex(document: unknown): Manifest {
  const { mediaType, manifests } = readDocument(INDEX, document, "index");
  requireType(mediaType, INDEX_TYPES);
  const entries = manifests.flatMap(({ mediaType: entryType, digest, size, platform }) => {
    if (!platform || !MANIFEST_TYPES.includes(entryType)) return [];
    const { os, architecture, variant } = platform;
    return [{ digest, size, platform: { os, architecture, variant: variant ?? undefined } }];
  });
  return { kind: "index", entries };
}

function readManifest(document: unknown): Manifest {
  const { mediaType, artifactType, config, layers } = readDocument(MANIFEST, document, "manifest");
  requireType(mediaType, MANIFEST_TYPES);
  if (!CONFIG_TYPES.includes(config.mediaType))
    throw unsupported(`artifacts of type ${quoted(artifactType ?? config.mediaType)}`);
  if (layers.length > MAX_LAYERS) throw unsupported(`images of more than ${MAX_LAYERS} layers`);
  return { kind: "manifest", config, layers: layers.map(layerOf) };
}

function layerOf({ mediaType, digest, size }: z.infer<typeof DESCRIPTOR>): LayerBlob {
  const compression = COMPRESSION.get(mediaType);
  if (!compression) throw unreadableLayer(mediaType);
  return { digest, size, compression };
}

function unreadableLayer(mediaType: string): MayflyError {
  const why = UNREADABLE_LAYERS.find(([pattern]) => pattern.test(mediaType))?.[1] ?? "";
  return new MayflyError("image_unsupported", `a layer of type ${quoted(mediaType)} is not supported${why}`);
}

function requireType(mediaType: string | undefined, allowed: readonly string[]): void {
  if (mediaType !== undefined && !allowed.includes(mediaType))
    throw unsupported(`documents of type ${quoted(mediaType)}`);
}

export function corrupt(message: string): MayflyError {
  return new MayflyError("image_corrupt", message);
}
