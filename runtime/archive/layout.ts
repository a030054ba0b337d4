// The images of an OCI layout (image-spec, image-layout.md): index.json names them, blobs/sha256/<hex> is what they are made of.

import { z } from "zod";
import { isDigest } from "../content/digest.ts";
import { quoted } from "../image/foreign-text.ts";
import { corrupt, INDEX_TYPES, MANIFEST_TYPES, parseJsonObject, readDocument, unsupported } from "../image/manifest.ts";
import { choosePlatform, type Platform } from "../image/platform.ts";
import { MAX_IMAGES } from "./archive.ts";
import { type ArchivedImage, readImage } from "./archived-image.ts";
import { readWhole, type Spool } from "./spool.ts";

export const LAYOUT_FILE = "oci-layout";
export const INDEX_FILE = "index.json";
export const LAYOUT = { imageLayoutVersion: "1.0.0" } as const;

/** containerd's is a whole reference. OCI's may be one, or only the tag: its specification leaves it open. */
export const CONTAINERD_NAME = "io.containerd.image.name";
export const OCI_NAME = "org.opencontainers.image.ref.name";

const VERSION = z.object({ imageLayoutVersion: z.string().regex(/^1\./, "not a version that is known") });

const ENTRY = z.object({
  mediaType: z.string(),
  digest: z.string().refine(isDigest, "not a sha256 digest"),
  size: z.int().nonnegative(),
  platform: z.object({ os: z.string(), architecture: z.string(), variant: z.string().nullish() }).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
type Entry = z.infer<typeof ENTRY>;

const INDEX = z.object({ schemaVersion: z.literal(2), manifests: z.array(ENTRY).max(MAX_IMAGES) });

/** All of them, or `image_corrupt` or `image_unsupported` for the first that cannot be read. */
export async function readLayout(spool: Spool, host: Platform): Promise<ArchivedImage[]> {
  await document(VERSION, LAYOUT_FILE, spool);
  const { manifests } = await document(INDEX, INDEX_FILE, spool);
  const images: ArchivedImage[] = [];
  for (const [name, entries] of byName(manifests.filter(isImage))) {
    for (const entry of name === undefined ? entries : [oneOf(entries, host)]) {
      checkType(entry);
      images.push({ ...(await readImage(entry, { spool, host })), names: name === undefined ? [] : [name] });
    }
  }
  return images;
}

async function document<T>(schema: z.ZodType<T>, name: string, spool: Spool): Promise<T> {
  const file = spool.find(name);
  if (!file) throw corrupt(`archive: ${name} is missing`);
  return readDocument(schema, parseJsonObject(await readWhole(file, name), name), name);
}

/** What was attested about an image stands beside it, for a platform that no host has. */
function isImage({ platform }: Entry): boolean {
  return platform?.os !== "unknown";
}

function byName(entries: readonly Entry[]): Map<string | undefined, Entry[]> {
  return Map.groupBy(entries, ({ annotations }) => annotations?.[CONTAINERD_NAME] ?? annotations?.[OCI_NAME]);
}

/** An image of several platforms may be several entries of one name. */
function oneOf(entries: readonly Entry[], host: Platform): Entry {
  const offers = entries.flatMap((entry) => {
    const { os, architecture, variant } = entry.platform ?? host;
    return [{ entry, platform: { os, architecture, variant: variant ?? undefined } }];
  });
  const chosen = choosePlatform(offers, host)?.entry ?? entries[0];
  if (!chosen) throw corrupt(`${INDEX_FILE}: no entries`);
  return chosen;
}

function checkType({ mediaType }: Entry): void {
  if (INDEX_TYPES.includes(mediaType) || MANIFEST_TYPES.includes(mediaType)) return;
  throw unsupported(`documents of type ${quoted(mediaType)}`);
}
