// What an operator asks of this host's images, and does to them (admin.ts).

import { MayflyError } from "../../core/errors.ts";
import type { Reclaimed } from "../../core/images.ts";
import type { Log } from "../../core/log.ts";
import { tellingNoRoom } from "../content/no-room.ts";
import type { ImageAdmin } from "./admin.ts";
import type { Collector } from "./collect.ts";
import { infoOf, inspectionOf, type Looking } from "./inspect.ts";
import { asDigest, isRemovable, measure, type NamedImage, namedImages, type Stores } from "./inventory.ts";
import type { Platform } from "./platform.ts";
import { formatReference, parseReference } from "./reference.ts";
import { nothingRemoved, type Removed, type Remover } from "./remove.ts";
import { notPresent, type Source } from "./sources.ts";
import { usageOf } from "./usage.ts";
import { createVerifier } from "./verify.ts";

/** All but archives, which stand on a whole store (archive/host-archives.ts). */
export type StoredImages = Omit<ImageAdmin, "load" | "save">;

export interface HostImagesOptions {
  readonly stores: Stores;
  readonly collector: Collector;
  readonly remover: Remover;
  readonly platform: Platform;
  /** Where what is to be repaired comes from. */
  readonly source: Source;
  /** See VerifierOptions. */
  readonly registry: Source;
  readonly log: Log;
}

export function createHostImages(options: HostImagesOptions): StoredImages {
  const { stores, collector, remover, platform, log } = options;
  const { content, records, leases } = stores;
  const verifier = createVerifier(options);

  const look = async (): Promise<Looking> => ({ content, platform, sizes: await measure(stores) });

  async function images(): Promise<NamedImage[]> {
    await records.load();
    return namedImages(stores);
  }

  /** By one of its names, or by its digest in the repository of one of its names. */
  async function find(text: string): Promise<NamedImage> {
    const reference = parseReference(text);
    const name = formatReference(reference);
    const all = await images();
    const isIn = (image: NamedImage, is: (record: NamedImage["records"][number]) => boolean) => image.records.some(is);
    const byName = all.find((image) => isIn(image, (record) => record.reference === name));
    if (byName) return byName;
    const byDigest = all.find((image) =>
      isIn(image, ({ reference: known, digest, manifestDigest }) => {
        const isNamed = reference.digest === digest || reference.digest === manifestDigest;
        const { repository } = parseReference(known);
        return isNamed && formatReference({ ...reference, repository }) === name;
      }),
    );
    if (byDigest) return byDigest;
    throw notPresent(name);
  }

  /** With `orphans`, also pieces that no image has. */
  async function removeAll(chosen: readonly NamedImage[], { orphans }: { orphans: boolean }): Promise<Reclaimed> {
    const sizes = await measure(stores);
    const removed = nothingRemoved();
    for (const image of chosen) await remover.image(image, sizes, removed);
    if (orphans) await remover.unneeded(sizes.keys(), sizes, removed);
    log.info("images.removed", { ...removed });
    return reclaimed(removed);
  }

  return {
    async list() {
      const looking = await look();
      return Promise.all((await images()).map((image) => infoOf(image, looking)));
    },
    inspect: async (reference) => inspectionOf(await find(reference), await look()),
    async remove(reference) {
      const image = await find(reference);
      if (!isRemovable(image)) throw inUse(reference, image);
      const name = formatReference(parseReference(reference));
      const named = image.records.filter((record) => record.reference === name);
      const [first = image.records[0], ...others] = named.length > 0 ? named : image.records;
      return removeAll([{ ...image, records: [first, ...others] }], { orphans: false });
    },
    async pin(reference, pinned) {
      const { records: names, manifestDigest } = await find(reference);
      const name = formatReference(parseReference(reference));
      const chosen = pinned ? (names.find((record) => record.reference === name) ?? names[0]) : undefined;
      for (const { reference: known } of chosen ? [chosen] : names) {
        const record = records.get(known); // A tag may have moved on, or gone, since the one before was written.
        if (record?.manifestDigest === manifestDigest && record.pinned !== pinned)
          await records.set({ ...record, pinned });
      }
    },
    async prune({ unusedForMs }) {
      const isOld = ({ lastUsedMs }: NamedImage) => Date.now() - lastUsedMs >= unusedForMs;
      const chosen = (await images()).filter((image) => isRemovable(image) && isOld(image));
      return removeAll(chosen, { orphans: true });
    },
    async verify({ reference, repair }, signal) {
      const chosen = reference === undefined ? await images() : [await find(reference)];
      return tellingNoRoom(() => verifier.verify(chosen, { repair, signal }));
    },
    async usage() {
      const [all, sizes, budget] = await Promise.all([images(), measure(stores), collector.budget()]);
      return usageOf({ images: all, sizes, budget, isHeld: (piece) => leases.holds(piece) });
    },
    async blob(digest) {
      const known = asDigest(digest);
      return known && content.stat(known);
    },
  };
}

function reclaimed({ references, layers, bytes }: Removed): Reclaimed {
  return { references, layers, bytes };
}

function inUse(reference: string, { holders, isPinned }: NamedImage): MayflyError {
  const why = isPinned ? "pinned" : `held by ${holders} runs or pulls`;
  return new MayflyError("image_in_use", `${reference} is ${why}`, {
    details: { reference, held: holders, pinned: isPinned },
  });
}
