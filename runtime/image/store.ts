// The images of this host: what `ensure` promises (image.ts), made of a registry, a content store and a layer store.
//
//   <stateDir>/content/sha256/<hex>            manifests, indexes, configs, and the blobs of layers
//   <stateDir>/layers/<uidBase>/sha256/<hex>   unpacked layers, by DiffID; their files are owned relative to the uid base
//   <stateDir>/images/<hash>.json              what each reference stands for and needs (records.ts)
//
// One process at a time owns a state directory. It may be removed as a whole while none does.

import { join } from "node:path";
import { type Log, SILENT } from "../../core/log.ts";
import { tellingNoRoom } from "../content/no-room.ts";
import { createContentStore, notYetKept } from "../content/store.ts";
import { SingleFlight } from "../layer/single-flight.ts";
import { createLayerStore } from "../layer/store.ts";
import type { UnpackLimits } from "../layer/unpacker.ts";
import { createRegistryClient, type RegistryOptions } from "../registry/client.ts";
import { Collector } from "./collect.ts";
import { createHostImages, type StoredImages } from "./host-images.ts";
import type { EnsureOptions, HeldImage, ImageStore, LayerProgress, PullPolicy } from "./image.ts";
import type { Stores } from "./inventory.ts";
import { Leases } from "./leases.ts";
import type { Peers } from "./peers.ts";
import type { Platform } from "./platform.ts";
import { createImagePolicy, type ImageRules } from "./policy.ts";
import { type OnProgress, Progress } from "./progress.ts";
import { type Pulled, Puller, type ReadyImage } from "./pull.ts";
import { Records } from "./records.ts";
import { formatReference, parseReference, type Reference } from "./reference.ts";
import { createRemover } from "./remove.ts";
import { fetchTag, type Named } from "./resolve.ts";
import { notPresent, nowhere, type Source, withPeers } from "./sources.ts";

export interface ImageStoreOptions {
  /** Absolute; everything is kept below it. Made if it is missing. */
  readonly stateDir: string;
  readonly platform: Platform;
  /** Uid and gid of the host that stand for root in containers; at least 65,536. With another one, layers are unpacked again. */
  readonly uidBase: number;
  /** Path of the mayfly-unpack program. */
  readonly unpackProgram: string;
  readonly registries?: RegistryOptions;
  readonly unpackLimits?: UnpackLimits;
  /** Which references may be run; without it, all. */
  readonly rules?: ImageRules;
  /** Bytes that images may take; without it, a share of the file system (budget.ts). */
  readonly diskBudget?: number | undefined;
  readonly peers?: Peers | undefined;
  readonly onPulled?: ((pulled: Pulled) => void) | undefined;
  readonly log?: Log;
}

export interface HostImageStore extends ImageStore {
  /** Absolute: below it lie the layers of every image. */
  readonly layersDir: string;
  readonly admin: StoredImages;
  /** For whoever brings images in by another way than a registry; what he writes, he holds. */
  readonly stores: Stores;
  /** And there he finds room for it. */
  readonly collector: Pick<Collector, "claim" | "makeRoom">;
  /** As `ensure`, for content that `source` has: what the reference stands for is known. */
  admit(reference: string, named: Named, source: Source, signal: AbortSignal): Promise<HeldImage>;
  /** Removes what a crash left half-made, and what is over the budget. To be called once, before the first `ensure`. */
  removeLeftovers(): Promise<void>;
}

/** Images that a run finds without any I/O; the one used longest ago is forgotten first, and found on disk next time. */
const MAX_REMEMBERED_IMAGES = 1024;

export function createImageStore(options: ImageStoreOptions): HostImageStore {
  const { stateDir, platform, uidBase, unpackProgram, unpackLimits, diskBudget, peers, log = SILENT } = options;
  const content = createContentStore(join(stateDir, "content"));
  const records = new Records(join(stateDir, "images"));
  const leases = new Leases();
  const unpacker = { program: unpackProgram, uidBase, ...(unpackLimits ? { limits: unpackLimits } : {}) };
  const layersDir = join(stateDir, "layers", String(uidBase));
  const layers = createLayerStore({ directory: layersDir, unpacker, blobs: notYetKept(content), log });
  const stores: Stores = { content, layers, records, leases };
  const remover = createRemover(stores, peers);
  const collector = new Collector({ stateDir, stores, remover, diskBudget, log });
  const puller = new Puller({ stores, collector, platform, peers, onPulled: options.onPulled, log });
  const policy = createImagePolicy(options.rules ?? {}, options.registries?.mirrors);
  const registry = createRegistryClient(options.registries);
  const source = peers ? withPeers(registry, peers) : registry;
  const tags = new SingleFlight<Named>();
  const pulls = new SingleFlight<ReadyImage, LayerProgress>();
  const ready = new Map<string, ReadyImage>();

  async function ensure(text: string, signal: AbortSignal, { pull, onProgress }: EnsureOptions = {}) {
    signal.throwIfAborted();
    const reference = parseReference(text);
    const name = formatReference(reference);
    const isAsked = pull === "always" && reference.digest === undefined;
    const held = isAsked ? undefined : hold(name, ready.get(name), onProgress);
    if (held) return held;
    policy(reference);
    return tellingNoRoom(async () => {
      await records.load();
      const named = await resolve(reference, pull, signal);
      const from = pull === "never" ? nowhere(name) : source;
      return prepare(reference, named, { from, signal, onProgress });
    });
  }

  /** What the reference stands for: itself, what it stood for the last time, or what the registry says. */
  async function resolve(reference: Reference, pull: PullPolicy = "missing", signal: AbortSignal): Promise<Named> {
    if (reference.digest) return { digest: reference.digest };
    const name = formatReference(reference);
    const known = records.get(name);
    if (known && pull !== "always") return { digest: known.digest };
    if (pull === "never") throw notPresent(name);
    // Of an answer that was on its way before it is not known whether it is still true.
    if (pull === "always") return fetchTag(reference, source, signal);
    return tags.join(name, signal, (shared) => fetchTag(reference, source, shared)).result;
  }

  /** An image may be removed again before it can be held; then it is made ready once more. */
  async function prepare(
    reference: Reference,
    named: Named,
    { from, signal, onProgress }: Preparing,
  ): Promise<HeldImage> {
    const name = formatReference(reference);
    const progress = onProgress && new Progress(onProgress);
    const pulling = { source: from, registry: from === source ? registry : from };
    for (;;) {
      const known = ready.get(name);
      const held = known?.image.digest === named.digest ? hold(name, known, onProgress) : undefined;
      if (held) return held;
      const flight = `${name} ${named.digest} ${from === source ? "" : "elsewhere"}`;
      const work = (shared: AbortSignal, tell: OnProgress) =>
        puller.pull(reference, named, { ...pulling, tell, signal: shared });
      const pulled = await pulls.join(flight, signal, work, progress && ((told) => progress.hear(told))).result;
      progress?.finish(pulled.record.layers);
      const fresh = hold(name, pulled);
      if (fresh) return fresh;
    }
  }

  /** In one step with looking whether the image is still recorded: what is recorded and held is never removed. */
  function hold(name: string, known: ReadyImage | undefined, onProgress?: OnProgress): HeldImage | undefined {
    if (!known || records.get(name)?.manifestDigest !== known.record.manifestDigest) return undefined;
    if (leases.areGoing(known.pieces)) return undefined; // One of its layers is being repaired.
    const release = leases.hold(known.record.manifestDigest, known.pieces);
    remember(ready, name, known);
    records.touch(name);
    if (onProgress) new Progress(onProgress).finish(known.record.layers);
    return { ...known.image, release };
  }

  return {
    ensure,
    layersDir,
    stores,
    collector,
    admin: createHostImages({ stores, collector, remover, platform, source, registry, log }),
    async admit(text, named, from, signal) {
      const reference = parseReference(text);
      policy(reference);
      await records.load();
      return prepare(reference, named, { from, signal });
    },
    async removeLeftovers() {
      await records.load();
      await Promise.all([content.removeLeftovers(), records.removeLeftovers(), layers.removeLeftovers()]);
      await collector.trim().catch((error: unknown) => log.warn("images.over_budget", { error }));
      void peers?.gained((await content.list()).map(({ digest }) => digest));
    },
  };
}

interface Preparing {
  readonly from: Source;
  readonly signal: AbortSignal;
  readonly onProgress?: OnProgress | undefined;
}

/** Moves the image to the end of the line of those to be forgotten. */
function remember(ready: Map<string, ReadyImage>, name: string, image: ReadyImage): void {
  ready.delete(name);
  ready.set(name, image);
  for (const oldest of ready.keys()) if (ready.size > MAX_REMEMBERED_IMAGES) ready.delete(oldest);
}
