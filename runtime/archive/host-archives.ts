// The archives of one host: loaded into its stores and made ready there, saved from what it keeps.

import { rename } from "node:fs/promises";
import { join } from "node:path";
import { addAbortSignal, Readable } from "node:stream";
import { type Digest, isDigest } from "../content/digest.ts";
import { tellingNoRoom } from "../content/no-room.ts";
import type { ImageAdmin } from "../image/admin.ts";
import type { Claim } from "../image/collect.ts";
import type { HeldImage } from "../image/image.ts";
import type { Stores } from "../image/inventory.ts";
import { contentPiece } from "../image/pieces.ts";
import type { Platform } from "../image/platform.ts";
import { notPresent, nowhere } from "../image/sources.ts";
import type { HostImageStore } from "../image/store.ts";
import type { ArchiveSink, ArchiveSource, Room } from "./archive.ts";
import { loadArchive } from "./load.ts";
import { saveImages } from "./save.ts";
import { removeLeftovers } from "./spool.ts";

export interface HostArchives extends Pick<ImageAdmin, "load" | "save"> {
  /** Removes what a crash left of a load. To be called while nothing is loaded. */
  removeLeftovers(): Promise<void>;
}

export interface HostArchivesOptions {
  readonly store: HostImageStore;
  /** The store's own: files are moved from here into its content. */
  readonly stateDir: string;
  readonly platform: Platform;
}

type Release = () => void;

export function createHostArchives({ store, stateDir, platform }: HostArchivesOptions): HostArchives {
  const directory = join(stateDir, "archives");
  return {
    async load(archive, signal, { reference } = {}) {
      const releases: Release[] = [];
      const claim = await store.collector.claim(0);
      try {
        const sink = sinkOf(store, releases, signal);
        const options = { directory, platform, reference, room: roomOf(store, claim), signal };
        const loaded = await tellingNoRoom(() => loadArchive(archive, sink, options));
        return loaded.map((image) => image.reference);
      } finally {
        claim.end();
        for (const release of releases) release();
      }
    },
    async save(references, format, signal) {
      const held: HeldImage[] = [];
      const release = () => held.splice(0).forEach((image) => void image.release());
      try {
        for (const reference of references) held.push(await store.ensure(reference, signal, { pull: "never" }));
        const source = sourceOf(store.stores, held);
        const names = held.map((image) => image.reference);
        const archive = await saveImages(names, format, { source, platform, signal });
        signal.throwIfAborted(); // Node destroys at once what is tied to such a signal, and nobody would hear its error yet.
        const bytes = Readable.from(archive, { objectMode: false });
        return addAbortSignal(signal, bytes).once("close", release);
      } catch (error) {
        release();
        throw error;
      }
    },
    removeLeftovers: () => removeLeftovers(directory),
  };
}

/** In bytes: how much a load takes between two looks at the budget of images, and so the most that it is over it. */
const ROOM_STEP = 16 * 2 ** 20;

/** What is spooled counts as images do, and they make room for it. */
function roomOf({ collector }: HostImageStore, claim: Claim): Room {
  let unseen = 0;
  return {
    async take(bytes) {
      claim.grow(bytes);
      unseen += bytes;
      if (unseen < ROOM_STEP) return;
      unseen = 0;
      await collector.makeRoom();
    },
    landed: claim.landed,
  };
}

/** What is put is held until the load is over; by then an image needs it, or it is the first to be collected. */
function sinkOf(store: HostImageStore, releases: Release[], signal: AbortSignal): ArchiveSink {
  return {
    async put(digest, content) {
      const piece = contentPiece(digest);
      releases.push(store.stores.leases.hold(piece, [piece]));
      await store.stores.leases.settled([piece]);
      await keep(store.stores, digest, content);
    },
    async record({ reference, digest }) {
      const image = await store.admit(reference, { digest }, nowhere(reference), signal);
      releases.push(image.release);
    },
  };
}

/** In place of what is there: that may have rotted, and this was verified just now. */
async function keep({ content }: Stores, digest: Digest, bytes: Parameters<ArchiveSink["put"]>[1]): Promise<void> {
  if (bytes instanceof Uint8Array) return content.write(digest, bytes);
  const reserved = await content.reserve(digest);
  try {
    await rename(bytes.path, reserved.path);
    await reserved.commit();
  } catch (error) {
    await reserved.discard();
    throw error;
  }
}

function sourceOf({ content }: Stores, held: readonly HeldImage[]): ArchiveSource {
  const byName = new Map<string, HeldImage>(held.map((image) => [image.reference, image]));
  return {
    async resolve(reference) {
      const image = byName.get(reference);
      if (!image || !isDigest(image.manifestDigest)) throw notPresent(reference);
      return { reference: image.reference, manifestDigest: image.manifestDigest };
    },
    read: content.read,
    open: content.open,
    size: async (digest) => (await content.stat(digest))?.size,
  };
}
