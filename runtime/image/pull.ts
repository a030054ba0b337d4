// One pull, from the digest that a reference stands for to an image that is ready:
// describe → hold → make room → layers → make room → record.

import { monotonicMs, Stopwatch } from "../../core/clock.ts";
import { isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { visibleLayers } from "../layer/opaque-root.ts";
import type { Collector } from "./collect.ts";
import type { Image } from "./image.ts";
import type { Stores } from "./inventory.ts";
import { mapBounded } from "./parallel.ts";
import type { Peers } from "./peers.ts";
import { type Piece, piecesOf } from "./pieces.ts";
import type { Platform } from "./platform.ts";
import type { OnProgress } from "./progress.ts";
import type { ImageRecord } from "./records.ts";
import { formatReference, type Reference, type Repository } from "./reference.ts";
import { type Documents, type Layer, type Named, type ResolvedImage, resolveImage } from "./resolve.ts";
import { mayComeFrom, type Source, withKept } from "./sources.ts";

export interface PullerOptions {
  readonly stores: Stores;
  readonly collector: Collector;
  readonly platform: Platform;
  readonly peers: Peers | undefined;
  readonly onPulled?: ((pulled: Pulled) => void) | undefined;
  readonly log: Log;
}

/** What came of fetching the layers that were missing. */
export interface Pulled {
  readonly isWhole: boolean;
  /** Of their blobs, from wherever they came. */
  readonly bytes: number;
  readonly ms: number;
}

export interface Pulling {
  readonly source: Source;
  /** Asked by itself when what came by way of others was not what it should be. */
  readonly registry: Source;
  readonly tell: OnProgress;
  readonly signal: AbortSignal;
}

export interface ReadyImage {
  readonly image: Image;
  readonly record: ImageRecord;
  readonly pieces: readonly Piece[];
}

/** Downloads of one image at the same time, as Docker has it: more only share the same bandwidth. */
const PARALLEL_LAYERS = 3;

export class Puller {
  readonly #options: PullerOptions;

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  /** Its image is recorded, and so safe from collection until somebody removes it, when this resolves; hold it in the same step. */
  async pull(reference: Reference, named: Named, pulling: Pulling): Promise<ReadyImage> {
    const { stores, platform, log } = this.#options;
    const watch = new Stopwatch();
    watch.enter("resolve");
    const { source, signal } = pulling;
    const { repository } = reference;
    const resolved = await resolveImage(named, { repository, source, content: stores.content, platform, signal });
    const pieces = piecesOf(resolved);
    const release = stores.leases.hold(resolved.manifestDigest, pieces);
    try {
      await stores.leases.settled(pieces);
      await this.#keep(resolved.documents);
      watch.enter("layers");
      const layers = await visibleLayers(await this.#layers(resolved, repository, pulling));
      watch.stop();
      const record = await this.#record(reference, resolved);
      const { digest, manifestDigest, config } = resolved;
      const image = { reference: record.reference, digest, manifestDigest, config, layers };
      log.info("image.ready", { image: image.reference, digest, layers: layers.length, phases: watch.phases });
      return { image, record, pieces };
    } catch (error) {
      release();
      // What has come of it may be what is too much; the pull's own error is the one to tell.
      await this.#options.collector.trim().catch(() => {});
      throw error;
    } finally {
      release();
    }
  }

  async #keep(documents: Documents): Promise<void> {
    const { stores, peers } = this.#options;
    for (const [digest, bytes] of documents) {
      if (await stores.content.stat(digest)) continue;
      await stores.content.write(digest, bytes);
      void peers?.gained([digest]);
    }
  }

  /** The directories, the lowest first. An image without layers has one that is empty: overlayfs needs something below. */
  async #layers({ layers }: ResolvedImage, repository: Repository, pulling: Pulling): Promise<string[]> {
    const { stores, collector, onPulled } = this.#options;
    if (layers.length === 0) return [await stores.layers.empty()];
    const found = await Promise.all(layers.map(({ diffId }) => stores.layers.find(diffId)));
    const missing = layers.filter((_, index) => found[index] === undefined);
    for (const { digest, size, diffId } of layers) {
      const isMissing = missing.some((layer) => layer.diffId === diffId);
      pulling.tell({ digest, size, ...(isMissing ? BEGUN : { state: "present", bytes: size }) });
    }
    if (missing.length === 0) return found.filter((directory) => directory !== undefined);
    const bytes = missing.reduce((sum, { size }) => sum + size, 0);
    const claim = await collector.claim(bytes);
    let coming = missing.length;
    const land = async ({ size }: Layer) => {
      claim.landed(size);
      // Only now is it known what they take on disk: more than they announced, perhaps, and too much. To look costs a little.
      if (--coming % PARALLEL_LAYERS === 0) await collector.makeRoom();
    };
    const sinceMs = monotonicMs();
    let isWhole = false;
    try {
      const directories = await mapBounded(
        layers,
        async (layer, signal) => {
          const directory = await this.#layer(layer, repository, { ...pulling, signal });
          if (missing.includes(layer)) await land(layer);
          return directory;
        },
        { limit: PARALLEL_LAYERS, signal: pulling.signal },
      );
      isWhole = true;
      return directories;
    } finally {
      claim.end();
      onPulled?.({ isWhole, bytes, ms: monotonicMs() - sinceMs });
    }
  }

  async #layer(layer: Layer, repository: Repository, pulling: Pulling): Promise<string> {
    const { stores, peers } = this.#options;
    const { source, registry, tell } = pulling;
    if (await stores.layers.find(layer.diffId)) return this.#from(source, layer, repository, pulling);
    const kept = await stores.content.stat(layer.digest);
    const from = kept ? withKept(source, stores.content) : source;
    const directory = await this.#from(from, layer, repository, pulling).catch(async (error: unknown) => {
      if (!mayComeFrom(registry, from, error)) throw error;
      if (kept) await stores.content.remove(layer.digest);
      return this.#from(registry, layer, repository, pulling).catch((again: unknown) => {
        // Where nobody else is asked, what was wrong with it is what there is to tell.
        throw isMayflyError(again) && again.reason === "image_not_present" ? error : again;
      });
    });
    tell({ digest: layer.digest, state: "done", bytes: layer.size, size: layer.size });
    if (peers && (await stores.content.stat(layer.digest))) void peers.gained([layer.digest]);
    return directory;
  }

  #from(from: Source, layer: Layer, repository: Repository, { tell, signal }: Pulling): Promise<string> {
    const { digest, size } = layer;
    return this.#options.stores.layers.ensure(layer, (asking) => from.blob(repository, layer, asking), {
      source: repository.host,
      signal,
      distrust: (blob) => from.distrust(blob),
      onBytes: (bytes) => tell({ digest, state: "pulling", bytes, size }),
    });
  }

  async #record(reference: Reference, resolved: ResolvedImage): Promise<ImageRecord> {
    const { records } = this.#options.stores;
    const name = formatReference(reference);
    const before = records.get(name);
    if (before?.digest === resolved.digest && before.manifestDigest === resolved.manifestDigest) return before;
    const record = {
      reference: name,
      digest: resolved.digest,
      manifestDigest: resolved.manifestDigest,
      configDigest: resolved.configDigest,
      layers: resolved.layers.map(({ digest, diffId, size }) => ({ digest, diffId, size })),
      pulledAt: new Date().toISOString(),
      pinned: before?.pinned ?? false, // A pin is on the name: what it stands for now is what is to stay.
    };
    await records.set(record);
    return record;
  }
}

const BEGUN = { state: "pulling", bytes: 0 } as const;
