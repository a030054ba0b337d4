// A store for one test, in a directory of its own.

import { readdirSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProgram } from "../../runtime/host/command.ts";
import type { HeldImage, Image } from "../../runtime/image/image.ts";
import { createImageStore, type HostImageStore, type ImageStoreOptions } from "../../runtime/image/store.ts";
import { HOST_PLATFORM } from "./image-builder.ts";

export const UID_BASE = 200_000;
export const UNPACK_PROGRAM = join(import.meta.dirname, "../../runtime/build/mayfly-unpack");

export interface StoreUnderTest {
  readonly store: HostImageStore;
  readonly stateDir: string;
  readonly layersDir: string;
  /** A second store on the same directory, as after a restart. */
  restart(changes?: Partial<ImageStoreOptions>): HostImageStore;
  /** Names in the directory of layers, unfinished ones included. */
  layerNames(): string[];
  remove(): Promise<void>;
}

export async function makeStore(options: Partial<ImageStoreOptions> = {}): Promise<StoreUnderTest> {
  const stateDir = await mkdtemp(join(tmpdir(), "mayfly-images-"));
  const layersDir = join(stateDir, "layers", String(UID_BASE), "sha256");
  const create = (changes: Partial<ImageStoreOptions> = {}) =>
    createImageStore({
      stateDir,
      platform: HOST_PLATFORM,
      uidBase: UID_BASE,
      unpackProgram: UNPACK_PROGRAM,
      ...options,
      ...changes,
    });
  return {
    store: create(),
    stateDir,
    layersDir,
    restart: create,
    layerNames: () => namesIn(layersDir),
    remove: async () => void (await runProgram(["rm", "-rf", "--", stateDir])),
  };
}

/** Without its way to be let go, which every holder has of its own. */
export const imageOf = ({ release: _, ...image }: HeldImage): Image => image;

export const NEVER = new AbortController().signal;

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // Nothing was ever unpacked.
  }
}
