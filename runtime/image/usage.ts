// What images take on this host, once each.

import type { ImageUsage } from "../../core/images.ts";
import { isRemovable, type NamedImage, type Sizes, sumOf, totalOf } from "./inventory.ts";
import { contentPiece, layerPiece, type Piece } from "./pieces.ts";

interface Using {
  readonly images: readonly NamedImage[];
  readonly sizes: Sizes;
  readonly budget: number;
  /** Of pulls that are under way, whose images have no name yet. */
  readonly isHeld: (piece: Piece) => boolean;
}

/** A layer's blob and its unpacked files count together. */
export function usageOf({ images, sizes, budget, isHeld }: Using): ImageUsage {
  const users = new Map<string, number>();
  const pieces = new Map<string, Set<Piece>>();
  for (const { records } of images) {
    const layers = new Map(records.flatMap((record) => record.layers.map((layer) => [layer.diffId, layer])));
    for (const { digest, diffId } of layers.values()) {
      users.set(diffId, (users.get(diffId) ?? 0) + 1);
      const known = pieces.get(diffId) ?? new Set();
      pieces.set(diffId, known.add(layerPiece(diffId)).add(contentPiece(digest)));
    }
  }
  const takenBy = (isCounted: (count: number) => boolean) => {
    const counted = [...users].filter(([, count]) => isCounted(count));
    return sumOf(new Set(counted.flatMap(([diffId]) => [...(pieces.get(diffId) ?? [])])), sizes);
  };
  const staying = new Set(images.filter((image) => !isRemovable(image)).flatMap((image) => image.pieces));
  return {
    images: images.length,
    layers: [...sizes.keys()].filter((piece) => piece.startsWith("layer ")).length,
    budget,
    total: totalOf(sizes),
    shared: takenBy((count) => count > 1),
    unique: takenBy((count) => count === 1),
    reclaimable: sumOf(
      [...sizes.keys()].filter((piece) => !staying.has(piece) && !isHeld(piece)),
      sizes,
    ),
  };
}
