// Which digest a tag had when this host resolved it: refs/<hash of the reference>.json.
//
// The names are hashes because a repository's path and another's tag could want the same file name.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isErrno } from "../../core/errors.ts";
import { type Digest, digestOf, hexOf, isDigest } from "../content/digest.ts";
import { writeDurably } from "../content/durable.ts";
import { removeUnfinishedFiles } from "../content/store.ts";

const RECORD = z.object({ reference: z.string(), digest: z.string().refine(isDigest) });

export interface TagStore {
  /** The recorded digest, or undefined. A record that cannot be read counts as none: it is only a memory. */
  read(reference: string): Promise<Digest | undefined>;
  /** Replaces the record at once. */
  write(reference: string, digest: Digest): Promise<void>;
  removeLeftovers(): Promise<void>;
}

/** `reference` is always the normalised form with its tag. */
export function createTagStore(directory: string): TagStore {
  const pathOf = (reference: string) => join(directory, `${hexOf(digestOf(Buffer.from(reference)))}.json`);
  return {
    async read(reference) {
      const record = RECORD.safeParse(await readJson(pathOf(reference)));
      return record.success && record.data.reference === reference ? (record.data.digest as Digest) : undefined;
    },
    write: (reference, digest) => writeDurably(pathOf(reference), JSON.stringify({ reference, digest })),
    removeLeftovers: () => removeUnfinishedFiles(directory),
  };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
