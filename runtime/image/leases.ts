// Who needs what of the images right now: runs whose containers stand on them, and pulls that are under way.
//
// Holding is synchronous, and a removal looks for holders and begins in one step. So a piece is either held, and stays, or is
// being removed, and whoever wants it waits until it is gone and makes it anew. In memory only: no sandbox outlives the worker.

import type { Piece } from "./pieces.ts";

export class Leases {
  /** How many hold each, by the image's manifest and by the piece. */
  readonly #images = new Map<string, number>();
  readonly #pieces = new Map<Piece, number>();
  readonly #removals = new Map<Piece, Promise<unknown>>();

  /**
   * `manifestDigest` names the image; its pieces may differ, because several indexes can lead to one manifest. Answers how to let go,
   * which is idempotent.
   */
  hold(manifestDigest: string, pieces: readonly Piece[]): () => void {
    add(this.#images, manifestDigest, 1);
    for (const piece of pieces) add(this.#pieces, piece, 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      add(this.#images, manifestDigest, -1);
      for (const piece of pieces) add(this.#pieces, piece, -1);
    };
  }

  holders(manifestDigest: string): number {
    return this.#images.get(manifestDigest) ?? 0;
  }

  /** Digests of the manifests that are held. */
  images(): string[] {
    return [...this.#images.keys()];
  }

  holds(piece: Piece): boolean {
    return this.#pieces.has(piece);
  }

  /** Does the work unless the piece is held or already going, then undefined. From the call on, `settled` waits for it. */
  async remove<T>(piece: Piece, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#removals.has(piece) || this.holds(piece)) return undefined;
    const removal = work();
    this.#removals.set(piece, removal);
    return removal.finally(() => this.#removals.delete(piece));
  }

  /** True while one of these layers is being removed or replaced. */
  areGoing(pieces: readonly Piece[]): boolean {
    return this.#removals.size > 0 && pieces.some((piece) => piece.startsWith("layer ") && this.#removals.has(piece));
  }

  /** Waits for removals of these pieces that have begun. To be called once they are held, before they are looked for. */
  async settled(pieces: readonly Piece[]): Promise<void> {
    await Promise.allSettled(pieces.map((piece) => this.#removals.get(piece)));
  }
}

/** What nobody counts on is not kept. */
function add<K>(counts: Map<K, number>, key: K, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
