// Unpacked layers on disk, each under its DiffID: sha256/<hex>, a directory that overlayfs can take as a lower one.
//
// A layer's life: absent → unpacked into an unfinished directory next to its place → flushed and checked → renamed → whole.
// There is no other state: a crash leaves an unfinished directory, which `removeLeftovers` takes away at the next start.

import { chown, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { monotonicMs } from "../../core/clock.ts";
import { isErrno, isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { type Digest, hexOf } from "../content/digest.ts";
import { renameDurably, UNFINISHED, unfinishedName } from "../content/durable.ts";
import { runProgram } from "../host/command.ts";
import { markOpaqueRoot } from "./opaque-root.ts";
import { SingleFlight } from "./single-flight.ts";
import { type UnpackerOptions, unpack } from "./unpacker.ts";
import { type LayerDescriptor, verifiedTar } from "./verify.ts";

/** Of one layer for one image, when the connection is lost in the middle. The longer a blob, the likelier; two are mostly enough. */
const MAX_DOWNLOADS = 2;

/** Opens the layer's blob where this caller's image has it. */
export type OpenBlob = (signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;

export interface LayerStore {
  /**
   * The layer's directory, fetched and unpacked if it is missing. Concurrent callers share one download; one that fails is
   * tried again from the joined callers' own sources, so that a bad registry harms only those who asked it.
   * When it rejects, nothing half-made is left. Errors: `image_corrupt`, `host_unavailable`, and those of `open`.
   */
  ensure(layer: LayerDescriptor, open: OpenBlob, options: { source: string; signal: AbortSignal }): Promise<string>;
  /** The directory of an image without layers: empty, and owned by the containers' root. */
  empty(): Promise<string>;
  /** To be called while nothing is unpacked. */
  removeLeftovers(): Promise<void>;
}

export function createLayerStore(directory: string, unpacker: UnpackerOptions, log: Log): LayerStore {
  const flights = new SingleFlight<string>();
  const placeOf = (diffId: Digest) => join(directory, "sha256", hexOf(diffId));

  async function find(diffId: Digest): Promise<string | undefined> {
    return (await isDirectory(placeOf(diffId))) ? placeOf(diffId) : undefined;
  }

  async function ensure(
    layer: LayerDescriptor,
    open: OpenBlob,
    { source, signal }: { source: string; signal: AbortSignal },
  ): Promise<string> {
    // Downloads are shared within a registry: one that is slow holds up nobody who asks another for the same layer.
    const flight = `${source} ${layer.diffId} ${layer.digest} ${layer.size}`;
    for (;;) {
      const found = await find(layer.diffId);
      if (found) return found;
      const work = (flightSignal: AbortSignal) =>
        build(placeOf(layer.diffId), layer, { open, unpacker, log, signal: flightSignal });
      const { led, result } = flights.join(flight, signal, work);
      const shared = await result.catch((error: unknown) => {
        if (led || signal.aborted) throw error;
      });
      if (shared) return shared;
    }
  }

  return {
    ensure,
    empty: () => makeEmpty(join(directory, "empty"), unpacker.uidBase),
    removeLeftovers: () => removeUnfinished(join(directory, "sha256")),
  };
}

interface Build {
  readonly open: OpenBlob;
  readonly unpacker: UnpackerOptions;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** A failed `open` has had its own attempts; what is tried again here is a connection that was lost on the way. */
async function build(place: string, layer: LayerDescriptor, { open, ...rest }: Build): Promise<string> {
  for (let download = 1; ; download++) {
    const blob = await open(rest.signal);
    try {
      return await unpackInto(place, blob, { layer, ...rest });
    } catch (error) {
      const isLost = isMayflyError(error) && error.reason === "registry_unavailable";
      if (!isLost || download === MAX_DOWNLOADS) throw error;
    }
  }
}

/** Only root may look into the directory of layers: there are set-id programs in it. */
async function unpackInto(
  place: string,
  blob: AsyncIterable<Uint8Array>,
  { layer, unpacker, log, signal }: Omit<Build, "open"> & { layer: LayerDescriptor },
): Promise<string> {
  const startedMs = monotonicMs();
  const unfinished = unfinishedName(place);
  await mkdir(dirname(dirname(place)), { recursive: true, mode: 0o700 });
  await mkdir(unfinished, { recursive: true });
  try {
    const report = await unpack(verifiedTar(blob, layer), unfinished, { ...unpacker, signal });
    if (report.opaqueRoot) await markOpaqueRoot(place); // Before the layer is there for others to find.
    await renameUnlessThere(unfinished, place);
    log.info("layer.unpacked", { ...layer, ...report, durationMs: Math.round(monotonicMs() - startedMs) });
  } catch (error) {
    await removeTree(unfinished);
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

async function removeUnfinished(directory: string): Promise<void> {
  const names = (await isDirectory(directory)) ? await readdir(directory) : [];
  for (const name of names.filter((candidate) => candidate.startsWith(UNFINISHED)))
    await removeTree(join(directory, name));
}

/** By `rm`, because a hostile tree can be deeper than any path that Node could name. */
async function removeTree(path: string): Promise<void> {
  await runProgram(["rm", "-rf", "--one-file-system", "--", path]);
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
