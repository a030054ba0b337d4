// One image of an archive, from its manifest down: all that it needs is there, and is what the documents say.

import { open } from "node:fs/promises";
import { MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";
import { hexOf } from "../content/digest.ts";
import { MAX_CONFIG_BYTES, parseConfig } from "../image/config.ts";
import { corrupt, type Descriptor, type Manifest, parseManifest } from "../image/manifest.ts";
import { choosePlatform, formatPlatform, formatPlatforms, type Platform } from "../image/platform.ts";
import { readWhole, type Spool, type Spooled } from "./spool.ts";

/** What a digest stands for: a file of the archive, or a document that was made of it. */
export type Content = Spooled | Buffer;

export interface ArchivedImage {
  /** As the archive writes them: references, or only tags. */
  readonly names: readonly string[];
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  /** All that the image needs, and its index if it has one that leads to the same manifest. */
  readonly content: ReadonlyMap<Digest, Content>;
}

const BLOBS = "blobs/sha256/";

/** The digest that an entry of this name must have. */
export function digestNamed(name: string): string | undefined {
  const place = name.replace(/^(\.\/)+/, "");
  return place.startsWith(BLOBS) ? `sha256:${place.slice(BLOBS.length)}` : undefined;
}

/** Reads what a descriptor names, an index or a manifest. Errors: `image_corrupt`, `image_unsupported`. */
export async function readImage(
  top: Descriptor,
  { spool, host }: { spool: Spool; host: Platform },
): Promise<Omit<ArchivedImage, "names">> {
  const { document, file } = await readBlob(top, spool);
  if (document.kind === "manifest") {
    const content = await contentOf(top, document, { spool, host });
    return { digest: top.digest, manifestDigest: top.digest, content };
  }
  const present = document.entries.filter(({ digest }) => spool.find(BLOBS + hexOf(digest)));
  const chosen = choosePlatform(present, host);
  if (!chosen) throw noVariant(present, host);
  const manifest = await readBlob(chosen, spool);
  if (manifest.document.kind === "index") throw corrupt(`${chosen.digest}: an index that calls itself a manifest`);
  const content = await contentOf(chosen, manifest.document, { spool, host });
  const isWhole = choosePlatform(document.entries, host) === chosen;
  if (isWhole) content.set(top.digest, file);
  return { digest: isWhole ? top.digest : chosen.digest, manifestDigest: chosen.digest, content };
}

/** The file of a blob. `image_corrupt` if it is not there or not as long as the descriptor says. */
export function blobOf({ digest, size }: Descriptor, spool: Spool): Spooled {
  const file = spool.find(BLOBS + hexOf(digest));
  if (!file) throw corrupt(`archive: ${digest} is missing`);
  if (file.digest !== digest) throw corrupt(`archive: what it calls ${digest} has digest ${file.digest}`); // By a link.
  if (file.size !== size) throw corrupt(`archive: ${digest} has ${file.size} bytes, not ${size}`);
  return file;
}

/** The first bytes of a file. */
export async function headOf({ path }: Spooled, count: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(count), 0, count, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function readBlob(descriptor: Descriptor, spool: Spool): Promise<{ document: Manifest; file: Spooled }> {
  const file = blobOf(descriptor, spool);
  return { document: parseManifest(await readWhole(file, descriptor.digest)), file };
}

async function contentOf(
  descriptor: Descriptor,
  { config, layers }: Manifest & { kind: "manifest" },
  { spool, host }: { spool: Spool; host: Platform },
): Promise<Map<Digest, Content>> {
  parseConfig(await readWhole(blobOf(config, spool), "image config", MAX_CONFIG_BYTES), host, layers.length);
  return new Map([descriptor, config, ...layers].map((part) => [part.digest, blobOf(part, spool)]));
}

function noVariant(present: readonly { readonly platform: Platform }[], host: Platform): MayflyError {
  const offered = formatPlatforms(present.map(({ platform }) => platform));
  return new MayflyError(
    "image_unsupported",
    `the archive has no variant for ${formatPlatform(host)}; it has ${offered}`,
  );
}
