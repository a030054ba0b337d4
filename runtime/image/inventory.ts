// What images take on this host's disk, piece by piece, and the images that the pieces make.

import { type Digest, isDigest } from "../content/digest.ts";
import type { ContentStore } from "../content/store.ts";
import type { LayerStore } from "../layer/store.ts";
import type { Leases } from "./leases.ts";
import { contentPiece, layerPiece, type Piece, piecesOf } from "./pieces.ts";
import type { ImageRecord, Records } from "./records.ts";

/** Bytes of every piece that is whole, as it was when they were measured, less what was removed through remove.ts since. */
export type Sizes = Map<Piece, number>;

/** The records that lead to one manifest: an image and its names. */
export interface NamedImage {
  readonly manifestDigest: Digest;
  /** At least one. The newest first. */
  readonly records: readonly [ImageRecord, ...ImageRecord[]];
  readonly pieces: readonly Piece[];
  readonly lastUsedMs: number;
  readonly isPinned: boolean;
  readonly holders: number;
}

export interface Stores {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly records: Records;
  readonly leases: Leases;
}

export async function measure({ content, layers }: Pick<Stores, "content" | "layers">): Promise<Sizes> {
  const [files, trees] = await Promise.all([content.list(), layers.list()]);
  return new Map<Piece, number>([
    ...files.map(({ digest, size }) => [contentPiece(digest), size] as const),
    ...trees.map(({ diffId, diskBytes }) => [layerPiece(diffId), diskBytes] as const),
  ]);
}

export function totalOf(sizes: Sizes): number {
  return sumOf(sizes.keys(), sizes);
}

/** A piece that is not there takes nothing. */
export function sumOf(pieces: Iterable<Piece>, sizes: Sizes): number {
  let sum = 0;
  for (const piece of pieces) sum += sizes.get(piece) ?? 0;
  return sum;
}

/** The least recently used first. */
export function namedImages({ records, leases }: Pick<Stores, "records" | "leases">): NamedImage[] {
  const byManifest = Map.groupBy(records.all(), ({ manifestDigest }) => manifestDigest);
  const images = Array.from(byManifest, ([manifestDigest, group]): NamedImage => {
    const [newest, ...others] = group.toSorted((a, b) => b.pulledAt.localeCompare(a.pulledAt));
    return {
      manifestDigest,
      records: [newest as ImageRecord, ...others],
      pieces: [...new Set(group.flatMap(piecesOf))],
      lastUsedMs: Math.max(...group.map(({ reference }) => records.lastUsedMs(reference))),
      isPinned: group.some(({ pinned }) => pinned),
      holders: leases.holders(manifestDigest),
    };
  });
  return images.toSorted((a, b) => a.lastUsedMs - b.lastUsedMs);
}

export function isRemovable({ isPinned, holders }: NamedImage): boolean {
  return !isPinned && holders === 0;
}

/** The digest, if the text is one. */
export function asDigest(text: string): Digest | undefined {
  return isDigest(text) ? text : undefined;
}
