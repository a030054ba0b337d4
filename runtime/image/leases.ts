// Who needs what of the images right now: runs whose containers stand on them, and pulls that are under way.
//
// Holding is synchronous, and a removal looks for holders and begins in one step. So a piece is either held, and stays, or is
// being removed, and whoever wants it waits until it is gone and makes it anew. In memory only: no sandbox outlives the worker.

import type { Piece } from "./pieces.ts";

interface Held {
  readonly pieces: readonly Piece[];
  holders: number;
}

export class Leases {
  readonly #held = new Map<string, Held>();
  readonly #removals = new Map<Piece, Promise<unknown>>();

  /** `manifestDigest` names the image, whose pieces are the same each time. Answers how to let go, which is idempotent. */
  hold(manifestDigest: string, pieces: readonly Piece[]): () => void {
    const held = this.#held.get(manifestDigest) ?? { pieces, holders: 0 };
    this.#held.set(manifestDigest, held);
    held.holders++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (--held.holders === 0) this.#held.delete(manifestDigest);
    };
  }

  holders(manifestDigest: string): number {
    return this.#held.get(manifestDigest)?.holders ?? 0;
  }

  /** Digests of the manifests that are held. */
  images(): string[] {
    return [...this.#held.keys()];
  }

  holds(piece: Piece): boolean {
    for (const { pieces } of this.#held.values()) if (pieces.includes(piece)) return true;
    return false;
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
