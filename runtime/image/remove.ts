// How images leave this host. First the name, durably, then the pieces that nothing else needs: a crash in between leaves pieces
// without a name, which are the first to be collected, and never a name without its pieces.

import type { Digest } from "../content/digest.ts";
import type { NamedImage, Sizes, Stores } from "./inventory.ts";
import type { Peers } from "./peers.ts";
import { contentPiece, digestOfPiece, type Piece } from "./pieces.ts";

/** What was removed, added up. */
export interface Removed {
  readonly references: string[];
  layers: number;
  blobs: number;
  bytes: number;
}

export const nothingRemoved = (): Removed => ({ references: [], layers: 0, blobs: 0, bytes: 0 });

export interface Remover {
  /** Forgets the names and removes what only they needed. Does nothing if a run or pull has the image by now. */
  image(image: NamedImage, sizes: Sizes, removed: Removed): Promise<void>;
  /** Removes the pieces that no image and no lease needs. */
  unneeded(pieces: Iterable<Piece>, sizes: Sizes, removed: Removed): Promise<void>;
  /** Removes a layer's blob, which can be had again; the unpacked layer stays. Held ones stay. */
  blob(digest: Digest, sizes: Sizes, removed: Removed): Promise<void>;
}

export function createRemover({ content, layers, records, leases }: Stores, peers: Peers | undefined): Remover {
  async function removePiece(piece: Piece, sizes: Sizes, removed: Removed): Promise<void> {
    const { kind, digest } = digestOfPiece(piece);
    const work = kind === "layer" ? () => layers.remove(digest).then(() => true) : () => removeContent(digest);
    if (!(await leases.remove(piece, work))) return;
    removed[kind === "layer" ? "layers" : "blobs"]++;
    removed.bytes += sizes.get(piece) ?? 0;
    sizes.delete(piece);
  }

  async function removeContent(digest: Digest): Promise<boolean> {
    await content.remove(digest);
    void peers?.lost([digest]);
    return true;
  }

  async function unneeded(pieces: Iterable<Piece>, sizes: Sizes, removed: Removed): Promise<void> {
    for (const piece of pieces) if (sizes.has(piece) && !records.need(piece)) await removePiece(piece, sizes, removed);
  }

  return {
    unneeded,
    blob: (digest, sizes, removed) => removePiece(contentPiece(digest), sizes, removed),
    async image(image, sizes, removed) {
      // It may have been used, pinned, or pulled anew since it was looked at.
      const isAsItWas = image.records.every((record) => records.get(record.reference) === record);
      if (leases.holders(image.manifestDigest) > 0 || !isAsItWas) return;
      const references = image.records.map(({ reference }) => reference);
      // All names are forgotten in one step; a run that comes now begins anew.
      await Promise.all(references.map((reference) => records.drop(reference)));
      removed.references.push(...references);
      await unneeded(image.pieces, sizes, removed);
    },
  };
}
