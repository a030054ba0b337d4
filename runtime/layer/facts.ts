// What is known of an unpacked layer besides its files: facts/<hex>.json, beside the directory of layers.
//
// It is written before the layer is put in its place, so a layer that is there has its facts.

import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isErrno } from "../../core/errors.ts";
import { type Digest, hexOf } from "../content/digest.ts";
import { writeDurably } from "../content/durable.ts";
import { removeUnfinishedFiles } from "../content/store.ts";
import type { UnpackReport } from "./unpacker.ts";

const LayerFacts = z.object({
  /** What it takes on disk: the content of its files, and a block for each entry. */
  diskBytes: z.int().nonnegative(),
  entries: z.int().nonnegative(),
});
export type LayerFacts = z.infer<typeof LayerFacts>;

/** What an entry takes besides its content, at most: the unused part of its last block, its inode, its name. */
const BYTES_AN_ENTRY = 4096;

type Counted = Pick<UnpackReport, "entries" | "bytes" | "diskBytes">;

export function factsOf({ entries, bytes, diskBytes }: Counted): LayerFacts {
  return { entries, diskBytes: Math.max(diskBytes, bytes + entries * BYTES_AN_ENTRY) };
}

export class FactsStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  #pathOf(diffId: Digest): string {
    return join(this.#directory, `${hexOf(diffId)}.json`);
  }

  write(diffId: Digest, facts: LayerFacts): Promise<void> {
    return writeDurably(this.#pathOf(diffId), JSON.stringify(facts));
  }

  /** Undefined if there are none that can be read. */
  async read(diffId: Digest): Promise<LayerFacts | undefined> {
    try {
      return LayerFacts.safeParse(JSON.parse(await readFile(this.#pathOf(diffId), "utf8"))).data;
    } catch (error) {
      if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  remove(diffId: Digest): Promise<void> {
    return rm(this.#pathOf(diffId), { force: true });
  }

  /** Also of layers that never came to be: a crash between the two leaves facts alone. */
  async removeLeftovers(isThere: (diffId: Digest) => Promise<boolean>): Promise<void> {
    await removeUnfinishedFiles(this.#directory);
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const diffId: Digest = `sha256:${name.replace(/\.json$/, "")}`;
      if (!(await isThere(diffId))) await this.remove(diffId);
    }
  }
}
