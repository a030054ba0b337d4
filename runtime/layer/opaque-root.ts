// Layers with an opaque root: of what lies below them nothing is to be seen. overlayfs has no mark for that at a layer's root, so such
// a layer is remembered here, and what is below it is left out when the layers of an image are stacked.
//
//   sha256/<hex>        the layer
//   opaque-root/<hex>   an empty directory, if its root is opaque
//
// A mark says something of a DiffID, which does not change: one that has outlived its layer does no harm.

import { mkdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isErrno } from "../../core/errors.ts";
import { flushDirectory } from "../content/durable.ts";

/** On disk when it resolves. `place` is the layer's directory, which need not be there yet. Idempotent. */
export async function markOpaqueRoot(place: string): Promise<void> {
  const mark = markOf(place);
  await mkdir(mark, { recursive: true });
  await flushDirectory(dirname(mark));
  await flushDirectory(dirname(dirname(mark)));
}

/**
 * Those of an image's layers of which something can be seen, each once: the upper of two that are the same hides all of the lower, and
 * overlayfs takes no directory twice. Both lists begin with the lowest.
 */
export async function visibleLayers(places: readonly string[]): Promise<readonly string[]> {
  const areOpaque = await Promise.all(places.map(hasOpaqueRoot));
  const seen = places.slice(Math.max(0, areOpaque.lastIndexOf(true)));
  return seen.filter((place, index) => seen.lastIndexOf(place) === index);
}

async function hasOpaqueRoot(place: string): Promise<boolean> {
  try {
    return (await stat(markOf(place))).isDirectory();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

function markOf(place: string): string {
  return join(dirname(dirname(place)), "opaque-root", basename(place));
}
