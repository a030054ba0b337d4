// Layers made of entries, and what a container sees of them.

import { type FakeRegistry, startFakeRegistry } from "./fake-registry.ts";
import { buildImage, buildLayer } from "./image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "./image-store.ts";
import type { TarEntry } from "./tar-builder.ts";
import { type TreeEntry, walkLayers } from "./tree-walk.ts";

export type LayerContent = readonly TarEntry[] | Buffer;

export interface SeenLayers {
  readonly registry: FakeRegistry;
  readonly host: StoreUnderTest;
  /** Directories of an image with these layers, the lowest first. */
  unpack(...layers: readonly LayerContent[]): Promise<readonly string[]>;
  /** What a container sees of them, by path. */
  see(...layers: readonly LayerContent[]): Promise<Map<string, TreeEntry>>;
  stop(): Promise<void>;
}

export async function startSeeing(): Promise<SeenLayers> {
  const [registry, host] = await Promise.all([startFakeRegistry(), makeStore()]);
  async function unpack(...layers: readonly LayerContent[]): Promise<readonly string[]> {
    const image = buildImage({ layers: layers.map((layer) => buildLayer(layer)) });
    return (await host.store.ensure(registry.add("demo/a:1", image).reference, NEVER)).layers;
  }
  return {
    registry,
    host,
    unpack,
    async see(...layers) {
      const tree = await walkLayers(await unpack(...layers), UID_BASE);
      return new Map(tree.map((entry) => [entry.path, entry]));
    },
    async stop() {
      await registry.stop();
      await host.remove();
    },
  };
}

/** Names of what is no directory, in order. */
export function filesOf(tree: ReadonlyMap<string, TreeEntry>): string[] {
  return [...tree.values()].filter(({ type }) => type !== "directory").map(({ path }) => path);
}

export const hardLink = (path: string, linkTarget: string): TarEntry => ({ path, type: "hardlink", linkTarget });
export const symlink = (path: string, linkTarget: string): TarEntry => ({ path, type: "symlink", linkTarget });
