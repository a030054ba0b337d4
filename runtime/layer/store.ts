// Unpacked layers on disk, each under its DiffID: sha256/<hex>, a directory that overlayfs can take as a lower one.
//
// A layer's life: absent → unpacked into an unfinished directory next to its place → flushed and checked → renamed → whole
// → renamed to an unfinished name → removed. There is no other state: a crash leaves an unfinished directory, which
// `removeLeftovers` takes away at the next start.

import { chown, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../../core/clock.ts";
import { isErrno, isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { type Digest, hexOf, isDigest } from "../content/digest.ts";
import { renameDurably, UNFINISHED, unfinishedName } from "../content/durable.ts";
import type { ReservedBlob } from "../content/store.ts";
import { runProgram } from "../host/command.ts";
import type { LayerDescriptor } from "./descriptor.ts";
import { FactsStore, factsOf } from "./facts.ts";
import { markOpaqueRoot } from "./opaque-root.ts";
import { SingleFlight } from "./single-flight.ts";
import { letGo, type UnpackerOptions, unpack } from "./unpacker.ts";

/** Of what a dead worker has left, and the time that its programs have between two of them to die as well. */
const MAX_REMOVALS = 10;
const DYING_MS = 100;

/** Of one layer for one image. Whoever opens it resumes what breaks: what is lost all the same is tried once more, from another host perhaps. */
const MAX_DOWNLOADS = { registry_unavailable: 2, image_corrupt: 4 } as const;

/** Opens the layer's blob where this caller's image has it. */
export type OpenBlob = (signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;

/** Where a blob is written to while it streams past, and how it is kept or thrown away then. */
export interface BlobKeeper {
  reserve(digest: Digest): Promise<ReservedBlob | undefined>;
}

export interface EnsureLayerOptions {
  /** Names where the blob comes from: downloads are shared among those who say the same. */
  readonly source: string;
  readonly signal: AbortSignal;
  /** How many bytes of the blob have come so far. It begins anew when a connection was lost. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Told of a blob that was not what it must be; true if another try may bring the right one. */
  readonly distrust?: ((blob: AsyncIterable<Uint8Array>) => boolean) | undefined;
}

export interface KeptLayer {
  readonly diffId: Digest;
  readonly diskBytes: number;
}

export interface LayerStore {
  /**
   * The layer's directory, fetched and unpacked if it is missing. Concurrent callers share one download; one that fails is
   * tried again from the joined callers' own sources, so that a bad registry harms only those who asked it.
   * When it rejects, nothing half-made is left. Errors: `image_corrupt`, `host_unavailable`, and those of `open`.
   */
  ensure(layer: LayerDescriptor, open: OpenBlob, options: EnsureLayerOptions): Promise<string>;
  /** Its directory, if it is here. */
  find(diffId: Digest): Promise<string | undefined>;
  /** All that are here. */
  list(): Promise<KeptLayer[]>;
  /** Nobody may use it any more, or ask for it meanwhile. Idempotent. */
  remove(diffId: Digest): Promise<void>;
  /** The layer once more, in an unfinished directory that is the caller's to `replace` with or to `discard`. Errors: as `ensure`. */
  unpackAside(layer: LayerDescriptor, blob: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string>;
  /** Puts such a directory in the layer's place. Nobody may use the layer, or ask for it meanwhile. */
  replace(diffId: Digest, aside: string): Promise<void>;
  discard(aside: string): Promise<void>;
  /** The directory of an image without layers: empty, and owned by the containers' root. */
  empty(): Promise<string>;
  /** To be called while nothing is unpacked. */
  removeLeftovers(): Promise<void>;
}

export interface LayerStoreOptions {
  readonly directory: string;
  readonly unpacker: UnpackerOptions;
  readonly blobs?: BlobKeeper | undefined;
  readonly log: Log;
}

export function createLayerStore({ directory, unpacker, blobs, log }: LayerStoreOptions): LayerStore {
  const flights = new SingleFlight<string, number>();
  const folder = join(directory, "sha256");
  const facts = new FactsStore(join(directory, "facts"));
  const placeOf = (diffId: Digest) => join(folder, hexOf(diffId));

  async function find(diffId: Digest): Promise<string | undefined> {
    return (await isDirectory(placeOf(diffId))) ? placeOf(diffId) : undefined;
  }

  async function ensure(
    layer: LayerDescriptor,
    open: OpenBlob,
    { source, signal, onBytes, distrust = () => false }: EnsureLayerOptions,
  ): Promise<string> {
    // Downloads are shared within a registry: one that is slow holds up nobody who asks another for the same layer.
    const flight = `${source} ${layer.diffId} ${layer.digest} ${layer.size}`;
    for (;;) {
      const found = await find(layer.diffId);
      if (found) return found;
      const work = (flightSignal: AbortSignal, tell: (bytes: number) => void) =>
        build(placeOf(layer.diffId), layer, {
          open,
          unpacker,
          blobs,
          facts,
          log,
          signal: flightSignal,
          tell,
          distrust,
        });
      const { led, result } = flights.join(flight, signal, work, onBytes);
      const shared = await result.catch((error: unknown) => {
        if (led || signal.aborted) throw error;
      });
      if (shared) return shared;
    }
  }

  async function remove(diffId: Digest): Promise<void> {
    const going = unfinishedName(placeOf(diffId));
    if (!(await find(diffId))) return;
    await renameDurably(placeOf(diffId), going);
    await facts.remove(diffId);
    await removeTree(going);
  }

  return {
    ensure,
    find,
    remove,
    async list() {
      const kept = (await namesIn(folder)).map((name) => `sha256:${name}`).filter(isDigest);
      return Promise.all(
        kept.map(async (diffId) => ({
          diffId,
          diskBytes: (await facts.read(diffId))?.diskBytes ?? (await diskUse(placeOf(diffId))),
        })),
      );
    },
    async unpackAside(layer, blob, signal) {
      const aside = await makeUnfinished(placeOf(layer.diffId)).catch((error: unknown) => {
        letGo(blob);
        throw error;
      });
      try {
        await unpack(blob, aside, { ...unpacker, layer, signal });
        return aside;
      } catch (error) {
        await removeTree(aside);
        throw error;
      }
    },
    async replace(diffId, aside) {
      const known = await facts.read(diffId);
      await remove(diffId);
      if (known) await facts.write(diffId, known);
      await renameUnlessThere(aside, placeOf(diffId));
    },
    discard: removeTree,
    empty: () => makeEmpty(join(directory, "empty"), unpacker.uidBase),
    async removeLeftovers() {
      await removeUnfinished(folder);
      await facts.removeLeftovers(async (diffId) => (await find(diffId)) !== undefined);
    },
  };
}

interface Build {
  readonly open: OpenBlob;
  readonly unpacker: UnpackerOptions;
  readonly blobs: BlobKeeper | undefined;
  readonly facts: FactsStore;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly tell: (bytes: number) => void;
  readonly distrust: (blob: AsyncIterable<Uint8Array>) => boolean;
}

/** A failed `open` has had its own attempts; what is tried again here is a source that was lost on the way, or lied. */
async function build(place: string, layer: LayerDescriptor, building: Build): Promise<string> {
  for (let download = 1; ; download++) {
    let blob: AsyncIterable<Uint8Array> | undefined;
    const open = async () => {
      blob = await building.open(building.signal);
      return blob;
    };
    try {
      return await unpackInto(place, open, layer, building);
    } catch (error) {
      if (!blob || !isMayflyError(error) || !(error.reason in MAX_DOWNLOADS)) throw error;
      if (download >= MAX_DOWNLOADS[error.reason as keyof typeof MAX_DOWNLOADS]) throw error;
      if (error.reason === "image_corrupt" && !building.distrust(blob)) throw error;
    }
  }
}

/** Only root may look into the directory of layers: there are set-id programs in it. */
async function makeUnfinished(place: string): Promise<string> {
  const unfinished = unfinishedName(place);
  await mkdir(dirname(dirname(place)), { recursive: true, mode: 0o700 });
  await mkdir(unfinished, { recursive: true });
  return unfinished;
}

async function unpackInto(
  place: string,
  open: () => Promise<AsyncIterable<Uint8Array>>,
  layer: LayerDescriptor,
  { unpacker, blobs, facts, log, signal, tell }: Build,
): Promise<string> {
  const startedMs = monotonicMs();
  const kept = await blobs?.reserve(layer.digest); // Puts nothing on disk: were it second, its failure would leave the first.
  const unfinished = await makeUnfinished(place);
  let bytes = 0;
  const onBytes = (count: number) => {
    bytes += count;
    tell(bytes);
  };
  try {
    const report = await unpack(await open(), unfinished, { ...unpacker, layer, keep: kept?.path, signal, onBytes });
    await kept?.commit();
    if (report.opaqueRoot) await markOpaqueRoot(place); // Before the layer is there for others to find.
    await facts.write(layer.diffId, factsOf(report));
    await renameUnlessThere(unfinished, place);
    log.info("layer.unpacked", { ...layer, ...report, durationMs: Math.round(monotonicMs() - startedMs) });
  } catch (error) {
    await Promise.all([removeTree(unfinished), kept?.discard()]);
    throw error;
  }
  return place;
}

/** Another descriptor of the same DiffID may have been quicker; what it put there is the same. */
async function renameUnlessThere(unfinished: string, place: string): Promise<void> {
  try {
    await renameDurably(unfinished, place);
  } catch (error) {
    if (!isErrno(error, "EEXIST", "ENOTEMPTY")) throw error;
    await removeTree(unfinished);
  }
}

async function makeEmpty(path: string, uidBase: number): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await mkdir(path, { recursive: true });
  await chown(path, uidBase, uidBase);
  return path;
}

/** What unpacks dies with its worker, but not in the same moment: it may still put something into what is removed. */
async function removeUnfinished(directory: string): Promise<void> {
  for (const name of (await namesIn(directory)).filter((candidate) => candidate.startsWith(UNFINISHED)))
    for (let attempt = 1; ; attempt++) {
      const failure = await removeTree(join(directory, name)).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (!failure) break;
      if (attempt === MAX_REMOVALS) throw failure.error;
      await delay(DYING_MS);
    }
}

async function namesIn(directory: string): Promise<string[]> {
  return (await isDirectory(directory)) ? readdir(directory) : [];
}

/** By `rm`, because a hostile tree can be deeper than any path that Node could name. */
async function removeTree(path: string): Promise<void> {
  await runProgram(["rm", "-rf", "--one-file-system", "--", path]);
}

/** Of a layer whose facts are lost. */
async function diskUse(path: string): Promise<number> {
  return Number.parseInt(await runProgram(["du", "-s", "--block-size=1", "--one-file-system", "--", path]), 10);
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
