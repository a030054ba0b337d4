// What images are made of on disk: content (documents and blobs, by their digests) and unpacked layers (by their DiffIDs).
//
// A layer that is not compressed has one digest for both, so a piece says which of the two it is.

import type { Digest } from "../content/digest.ts";

export type Piece = `content ${Digest}` | `layer ${Digest}`;

export const contentPiece = (digest: Digest): Piece => `content ${digest}`;
export const layerPiece = (diffId: Digest): Piece => `layer ${diffId}`;

export interface Needs {
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  readonly layers: readonly { readonly digest: Digest; readonly diffId: Digest }[];
}

/** Each once. */
export function piecesOf({ digest, manifestDigest, configDigest, layers }: Needs): Piece[] {
  const documents = [digest, manifestDigest, configDigest].map(contentPiece);
  const ofLayers = layers.flatMap((layer) => [contentPiece(layer.digest), layerPiece(layer.diffId)]);
  return [...new Set([...documents, ...ofLayers])];
}

export function digestOfPiece(piece: Piece): { readonly kind: "content" | "layer"; readonly digest: Digest } {
  const [kind, digest] = piece.split(" ") as ["content" | "layer", Digest];
  return { kind, digest };
}
