// Keeps images within their share of the disk. What goes first is what costs least to have again:
//
//   1. pieces that no image has: of pulls that failed, of tags that moved on
//   2. blobs of the least recently used images: their unpacked layers stay, and runs start as fast as before
//   3. whole images, the least recently used first
//
// Nothing that a run or a pull holds, and nothing pinned, ever goes.

import { MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { formatSize } from "../../core/units.ts";
import type { Digest } from "../content/digest.ts";
import { budgetOf } from "./budget.ts";
import { isRemovable, measure, namedImages, type Sizes, type Stores, totalOf } from "./inventory.ts";
import { contentPiece } from "./pieces.ts";
import { nothingRemoved, type Removed, type Remover } from "./remove.ts";

/** A collection goes on to this share of the budget, so that not every pull has to collect. */
const LOW_MARK = 0.9;

export interface CollectorOptions {
  readonly stateDir: string;
  readonly stores: Stores;
  readonly remover: Remover;
  /** Bytes; without them a share of the file system. */
  readonly diskBudget: number | undefined;
  readonly log: Log;
}

/** Bytes that a pull or a load has announced and not yet put on disk. */
export interface Claim {
  /** So much more, for who learns only by and by what is coming. */
  grow(bytes: number): void;
  /** So much of it is on disk now, and counted there. */
  landed(bytes: number): void;
  end(): void;
}

export class Collector {
  readonly #options: CollectorOptions;
  #claimed = 0;
  /** One collection at a time: two would both count on what the other frees. */
  #collecting: Promise<unknown> = Promise.resolve();

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** To be called before `makeRoom`, so that pulls that begin at the same time see each other. */
  claim(bytes: number): Claim {
    let rest = 0;
    const grow = (amount: number) => {
      rest += amount;
      this.#claimed += amount;
    };
    grow(bytes);
    const landed = (amount: number) => {
      const counted = Math.min(rest, amount);
      rest -= counted;
      this.#claimed -= counted;
    };
    return { grow, landed, end: () => landed(rest) };
  }

  /**
   * Collects if images take more than their budget, what is claimed included. `host_unavailable`, with the budget and what is
   * held, if that is not enough.
   */
  makeRoom(): Promise<void> {
    const turn = this.#collecting.then(() => this.#makeRoom());
    this.#collecting = turn.catch(() => {}); // Its own caller is told.
    return turn;
  }

  async budget(): Promise<number> {
    return this.#budget(totalOf(await measure(this.#options.stores)));
  }

  #budget(imageBytes: number): Promise<number> {
    return budgetOf(this.#options.stateDir, this.#options.diskBudget, imageBytes);
  }

  async #makeRoom(): Promise<void> {
    const { stores, log } = this.#options;
    const sizes = await measure(stores);
    const before = totalOf(sizes);
    const budget = await this.#budget(before);
    if (before + this.#claimed <= budget) return;
    const removed = nothingRemoved();
    const isEnough = () => before - removed.bytes + this.#claimed <= budget * LOW_MARK;
    await this.#collect(sizes, removed, isEnough);
    const total = before - removed.bytes;
    log.info("images.collected", { ...removed, total, claimed: this.#claimed, budget });
    if (total + this.#claimed > budget) throw this.#full(budget, total);
  }

  async #collect(sizes: Sizes, removed: Removed, isEnough: () => boolean): Promise<void> {
    const { stores, remover } = this.#options;
    for (const piece of sizes.keys()) {
      if (isEnough()) return;
      await remover.unneeded([piece], sizes, removed);
    }
    for (const digest of expendableBlobs(stores)) {
      if (isEnough()) return;
      if (sizes.has(contentPiece(digest))) await remover.blob(digest, sizes, removed);
    }
    for (const image of namedImages(stores).filter(isRemovable)) {
      if (isEnough()) return;
      await remover.image(image, sizes, removed);
    }
  }

  #full(budget: number, total: number): MayflyError {
    const { stores } = this.#options;
    const kept = namedImages(stores).filter((image) => !isRemovable(image));
    const names = kept.map(({ records: [{ reference }] }) => reference).slice(0, MAX_NAMED);
    const [held, pinned] = [stores.leases.images().length, kept.filter(({ isPinned }) => isPinned).length];
    return new MayflyError(
      "host_unavailable",
      `images may take ${formatSize(budget)} (MAYFLY_IMAGES_DISK); they take ${formatSize(total)}, and what is being pulled or loaded needs ${formatSize(this.#claimed)}. ` +
        `${held} are held by runs and pulls, ${pinned} are pinned: ${names.join(", ") || "none has a name yet"}`,
      { details: { budget, total, claimed: this.#claimed, held, pinned } },
    );
  }
}

/** In a message, of those that cannot go. */
const MAX_NAMED = 5;

/** Blobs of layers that only images that may go have, the least recently used first. */
function expendableBlobs(stores: Stores): Set<Digest> {
  const images = namedImages(stores);
  const blobs = new Set<Digest>();
  for (const { records } of images) {
    for (const { digest } of records.flatMap(({ layers }) => layers)) {
      blobs.delete(digest); // It is as young as the youngest image that has it.
      blobs.add(digest);
    }
  }
  const staying = new Set(images.filter((image) => !isRemovable(image)).flatMap(({ pieces }) => pieces));
  return new Set([...blobs].filter((digest) => !staying.has(contentPiece(digest))));
}
