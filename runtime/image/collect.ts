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
import { isRemovable, measure, namedImages, type Sizes, type Stores, sumOf, totalOf } from "./inventory.ts";
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

/** Room for bytes of a pull or a load that are not yet on disk. */
export interface Claim {
  /** So much more, for who learns only by and by what is coming; `makeRoom` is then his to call. */
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

  /**
   * Makes room for so many bytes, and keeps it for them. One claim after the other, so that each sees those that were granted
   * before it. Errors: as `makeRoom`. What announces more than could ever fit has no part in what others are told.
   */
  claim(bytes: number): Promise<Claim> {
    return this.#inTurn(async () => {
      await this.#makeRoom(bytes);
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
    });
  }

  /**
   * Collects if images take more than their budget, what is claimed included. `host_unavailable`, with the budget, if all that may
   * go is not enough: then nothing goes, or a single image that is too large could drive out all others.
   */
  makeRoom(): Promise<void> {
    return this.#inTurn(() => this.#makeRoom(0));
  }

  /** As `makeRoom`, but collects as much as it can in any case: the budget may have become smaller than what is here. */
  trim(): Promise<void> {
    return this.#inTurn(async () => {
      const need = await this.#look(0);
      if (need) await this.#collect(need);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#collecting.then(work);
    this.#collecting = turn.catch(() => {}); // Its own caller is told.
    return turn;
  }

  async budget(): Promise<number> {
    return this.#budget(totalOf(await measure(this.#options.stores)));
  }

  #budget(imageBytes: number): Promise<number> {
    return budgetOf(this.#options.stateDir, this.#options.diskBudget, imageBytes);
  }

  /** What there is, if it is too much with so many bytes more. */
  async #look(bytes: number): Promise<Need | undefined> {
    const sizes = await measure(this.#options.stores);
    const total = totalOf(sizes);
    const budget = await this.#budget(total);
    const claimed = this.#claimed + bytes;
    return total + claimed <= budget ? undefined : { sizes, total, budget, claimed };
  }

  async #makeRoom(bytes: number): Promise<void> {
    const need = await this.#look(bytes);
    if (!need) return;
    if (this.#staying(need.sizes) + need.claimed > need.budget) throw this.#full(need);
    await this.#collect(need);
  }

  /** Bytes of what may not go. */
  #staying(sizes: Sizes): number {
    const { stores } = this.#options;
    const kept = namedImages(stores).filter((image) => !isRemovable(image));
    const needed = new Set(kept.flatMap(({ pieces }) => pieces));
    return sumOf(
      [...sizes.keys()].filter((piece) => needed.has(piece) || stores.leases.holds(piece)),
      sizes,
    );
  }

  async #collect(need: Need): Promise<void> {
    const { sizes, total: before, budget, claimed } = need;
    const removed = nothingRemoved();
    await this.#removeUntil(() => before - removed.bytes + claimed <= budget * LOW_MARK, sizes, removed);
    const total = before - removed.bytes;
    this.#options.log.info("images.collected", { ...removed, total, claimed, budget });
    if (total + claimed > budget) throw this.#full({ ...need, total });
  }

  async #removeUntil(isEnough: () => boolean, sizes: Sizes, removed: Removed): Promise<void> {
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

  /** Which images stay is for the operator's log, as the cause: who asked for one need not know what others run. */
  #full({ total, budget, claimed }: Need): MayflyError {
    const { stores } = this.#options;
    const kept = namedImages(stores).filter((image) => !isRemovable(image));
    const names = kept.map(({ records: [{ reference }] }) => reference).slice(0, MAX_NAMED);
    const [held, pinned] = [stores.leases.images().length, kept.filter(({ isPinned }) => isPinned).length];
    return new MayflyError(
      "host_unavailable",
      `images may take ${formatSize(budget)} (MAYFLY_IMAGES_DISK); they take ${formatSize(total)}, and what is being pulled or loaded needs ${formatSize(claimed)}. ` +
        `${held} are held by runs and pulls, ${pinned} are pinned`,
      { details: { budget, total, claimed, held, pinned }, cause: new Error(`what stays: ${names.join(", ")}`) },
    );
  }
}

interface Need {
  readonly sizes: Sizes;
  readonly total: number;
  readonly budget: number;
  readonly claimed: number;
}

/** In the log, of those that cannot go. */
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
