// What the images of an archive are to be called on this host.

import { MayflyError } from "../../core/errors.ts";
import { corrupt } from "../image/manifest.ts";
import { formatReference, parseReference } from "../image/reference.ts";
import type { NamedDigest } from "./archive.ts";
import type { ArchivedImage } from "./archived-image.ts";

/** Where an image is said to be that has no name, or only a tag. No registry is asked for what is here already. */
const NAMELESS = "localhost/loaded";

/**
 * Normalised references and what they stand for. `given` is the one name of an archive's one image, instead of its own.
 * `invalid_field` if there is another number of images, `invalid_reference` for a name that is none, `image_corrupt` for one whose digest is another's.
 */
export function namedImages(images: readonly ArchivedImage[], given: string | undefined): NamedDigest[] {
  if (given !== undefined && images.length !== 1) throw tooMany(images.length);
  const named = images.flatMap((image) => {
    const names = given === undefined ? image.names.map(inFull) : [given];
    return (names.length > 0 ? names : [`${NAMELESS}@${image.digest}`]).map((name) => nameOf(image, name));
  });
  return uniquely(named);
}

/** `busybox` alone is a tag; `busybox:1` and `demo/busybox` are names. */
function inFull(name: string): string {
  return /[/:]/.test(name) ? name : `${NAMELESS}:${name}`;
}

function nameOf({ digest, manifestDigest }: ArchivedImage, name: string): NamedDigest {
  const reference = parseReference(name);
  if (reference.digest && reference.digest !== digest && reference.digest !== manifestDigest) {
    throw corrupt(`archive: what it calls ${JSON.stringify(name)} has digest ${digest}`);
  }
  return { reference: formatReference(reference), digest: reference.digest ?? digest, manifestDigest };
}

/** A name that is written twice is one, if it means the same both times. */
function uniquely(named: readonly NamedDigest[]): NamedDigest[] {
  const byReference = new Map<string, NamedDigest>();
  for (const image of named) {
    const other = byReference.get(image.reference);
    if (other && other.digest !== image.digest) throw corrupt(`archive: two images are called ${image.reference}`);
    byReference.set(image.reference, image);
  }
  return [...byReference.values()];
}

function tooMany(count: number): MayflyError {
  return new MayflyError("invalid_field", `reference: a name is for an archive of one image; this has ${count}`, {
    details: { field: "reference" },
  });
}
