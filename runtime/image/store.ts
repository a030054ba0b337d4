// The images of this host: what `ensure` promises (image.ts), made of a registry, a content store and a layer store.
//
//   <stateDir>/content/sha256/<hex>            manifests, indexes, configs
//   <stateDir>/layers/<uidBase>/sha256/<hex>   unpacked layers, by DiffID; their files are owned relative to the uid base
//   <stateDir>/refs/<hash>.json                what digest a tag had
//
// One process at a time owns a state directory. It may be removed as a whole while none does.

import { join } from "node:path";
import { Stopwatch } from "../../core/clock.ts";
import { type Log, SILENT } from "../../core/log.ts";
import { createContentStore } from "../content/store.ts";
import { SingleFlight } from "../layer/single-flight.ts";
import { createLayerStore, type LayerStore } from "../layer/store.ts";
import type { UnpackLimits } from "../layer/unpacker.ts";
import { createRegistryClient, type RegistryOptions } from "../registry/client.ts";
import type { EnsureOptions, HeldImage, Image, ImageStore } from "./image.ts";
import { mapBounded } from "./parallel.ts";
import type { Platform } from "./platform.ts";
import { formatReference, parseReference, type Reference } from "./reference.ts";
import { type ResolvedImage, resolveImage, type Sources } from "./resolve.ts";
import { createTagStore } from "./tags.ts";

export interface ImageStoreOptions {
  /** Absolute; everything is kept below it. Made if it is missing. */
  readonly stateDir: string;
  readonly platform: Platform;
  /** Uid and gid of the host that stand for root in containers; at least 65,536. With another one, layers are fetched again. */
  readonly uidBase: number;
  /** Path of the mayfly-unpack program. */
  readonly unpackProgram: string;
  readonly registries?: RegistryOptions;
  readonly unpackLimits?: UnpackLimits;
  readonly log?: Log;
}

export interface HostImageStore extends ImageStore {
  /** Absolute: below it lie the layers of every image. */
  readonly layersDir: string;
  /** Removes what a crash left half-made. To be called once, before the first `ensure`. */
  removeLeftovers(): Promise<void>;
}

/** Downloads of one image at the same time, as Docker has it: more only share the same bandwidth. */
const PARALLEL_LAYERS = 3;

/** Images that a run finds without any I/O; the one used longest ago is forgotten first, and found on disk next time. */
const MAX_REMEMBERED_IMAGES = 1024;

export function createImageStore(options: ImageStoreOptions): HostImageStore {
  const { stateDir, platform, uidBase, unpackProgram, unpackLimits, log = SILENT } = options;
  const content = createContentStore(join(stateDir, "content"));
  const tags = createTagStore(join(stateDir, "refs"));
  const unpacker = { program: unpackProgram, uidBase, ...(unpackLimits ? { limits: unpackLimits } : {}) };
  const layersDir = join(stateDir, "layers", String(uidBase));
  const layers = createLayerStore(layersDir, unpacker, log);
  const sources: Sources = { client: createRegistryClient(options.registries), content, tags, platform };
  const flights = new SingleFlight<Image>();
  const ready = new Map<string, Image>();

  async function ensure(text: string, signal: AbortSignal, _options: EnsureOptions = {}): Promise<HeldImage> {
    signal.throwIfAborted();
    const reference = parseReference(text);
    const name = formatReference(reference);
    const image = ready.get(name) ?? (await flights.join(name, signal, (shared) => prepare(reference, shared)).result);
    remember(ready, name, image);
    return { ...image, release() {} };
  }

  async function prepare(reference: Reference, signal: AbortSignal): Promise<Image> {
    const watch = new Stopwatch();
    watch.enter("resolve");
    const resolved = await resolveImage(reference, sources, signal);
    watch.enter("layers");
    const directories = await ensureLayers(resolved, layers, { sources, reference, signal });
    watch.stop();
    const name = formatReference(reference);
    if (!reference.digest) await tags.write(name, resolved.digest);
    log.info("image.ready", { image: name, digest: resolved.digest, layers: directories.length, phases: watch.phases });
    const { digest, manifestDigest, config } = resolved;
    return { reference: name, digest, manifestDigest, config, layers: directories };
  }

  return {
    ensure,
    layersDir,
    async removeLeftovers() {
      await Promise.all([content.removeLeftovers(), tags.removeLeftovers(), layers.removeLeftovers()]);
    },
  };
}

interface Fetching {
  readonly sources: Sources;
  readonly reference: Reference;
  readonly signal: AbortSignal;
}

/** The directories, the lowest first. An image without layers has one that is empty: overlayfs needs something below. */
async function ensureLayers(resolved: ResolvedImage, store: LayerStore, fetching: Fetching): Promise<string[]> {
  const { sources, reference, signal } = fetching;
  if (resolved.layers.length === 0) return [await store.empty()];
  const descriptors = resolved.layers.flatMap((blob, index) => {
    const diffId = resolved.diffIds[index];
    return diffId ? [{ ...blob, diffId }] : [];
  });
  return mapBounded(
    descriptors,
    (layer, layerSignal) =>
      store.ensure(layer, (blobSignal) => sources.client.blob(reference.repository, layer, blobSignal), {
        source: reference.repository.host,
        signal: layerSignal,
      }),
    { limit: PARALLEL_LAYERS, signal },
  );
}

/** Moves the image to the end of the line of those to be forgotten. */
function remember(ready: Map<string, Image>, name: string, image: Image): void {
  ready.delete(name);
  ready.set(name, image);
  for (const oldest of ready.keys()) if (ready.size > MAX_REMEMBERED_IMAGES) ready.delete(oldest);
}
