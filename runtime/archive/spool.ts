// The files of an archive on disk, while it is read: they come in any order, and what one of them means another one says.
//
// No name of the archive is ever one of the file system's: the files are numbered. Links are names that stand for names, followed
// in memory. The directory goes with `remove`, and what a crash leaves with `removeLeftovers`: there is nothing else in its parent.

import { createHash } from "node:crypto";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import type { MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";
import { unfinishedName } from "../content/durable.ts";
import { corrupt } from "../image/manifest.ts";
import { MAX_MANIFEST_BYTES } from "../registry/client.ts";
import type { Room } from "./archive.ts";

/** A file of the archive: where it is now, and what its bytes hash to. */
export interface Spooled {
  readonly path: string;
  readonly size: number;
  readonly digest: Digest;
}

/** Docker makes links to files; a link to a link is more than anybody needs. */
const MAX_LINKS_FOLLOWED = 4;

export class Spool {
  readonly #directory: string;
  readonly #room: Room | undefined;
  readonly #files = new Map<string, Spooled>();
  readonly #links = new Map<string, string>();

  private constructor(directory: string, room: Room | undefined) {
    this.#directory = directory;
    this.#room = room;
  }

  /** Below `parent`, which is made if it is missing. Without `room`, the file system is the limit. */
  static async make(parent: string, room?: Room): Promise<Spool> {
    const directory = unfinishedName(join(parent, "archive"));
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new Spool(directory, room);
  }

  /** `image_corrupt` if the name leads out of the archive or is there twice; the room's own. */
  async add(name: string, content: AsyncIterable<Uint8Array>): Promise<Spooled> {
    const place = this.#unused(entryName(name));
    const file = await write(join(this.#directory, String(this.#files.size)), content, this.#room);
    this.#files.set(place, file);
    return file;
  }

  /** A symbolic link's target starts from its own directory, a hard link's from the archive's root. `image_corrupt` as for `add`. */
  link(name: string, target: string, type: "symlink" | "hardlink"): void {
    const place = this.#unused(entryName(name));
    this.#links.set(place, type === "symlink" ? within(dirname(place), target) : entryName(target));
  }

  /** The file of this name, or that a link of this name leads to. */
  find(name: string): Spooled | undefined {
    let place = entryName(name);
    for (let followed = 0; followed <= MAX_LINKS_FOLLOWED; followed++) {
      const target = this.#links.get(place);
      if (target === undefined) return this.#files.get(place);
      place = target;
    }
    throw corrupt(`archive: ${JSON.stringify(name)} is a link to a link to a link`);
  }

  remove(): Promise<void> {
    return rm(this.#directory, { recursive: true, force: true });
  }

  #unused(place: string): string {
    if (!this.#files.has(place) && !this.#links.has(place)) return place;
    throw corrupt(`archive: two entries are named ${JSON.stringify(place)}`);
  }
}

/** To be called while nothing is loaded. */
export async function removeLeftovers(parent: string): Promise<void> {
  await rm(parent, { recursive: true, force: true });
}

/** A file as a document; `image_corrupt` if it is larger than such a document can be. */
export async function readWhole({ path, size }: Spooled, what: string, maxBytes = MAX_MANIFEST_BYTES): Promise<Buffer> {
  if (size > maxBytes) throw corrupt(`${what}: larger than ${maxBytes} bytes`);
  return readFile(path);
}

/** `./blobs/sha256/ab` is `blobs/sha256/ab`. */
function entryName(name: string): string {
  if (name.startsWith("/") || name.split("/").includes("..")) throw outside(name);
  return within(".", name);
}

function within(directory: string, name: string): string {
  const path = posix.join(directory, name);
  if (name.startsWith("/") || path.startsWith("..") || name.includes("\0")) throw outside(name);
  return path;
}

function outside(name: string): MayflyError {
  return corrupt(`archive: ${JSON.stringify(name)} leads out of it`);
}

async function write(path: string, content: AsyncIterable<Uint8Array>, room: Room | undefined): Promise<Spooled> {
  const hash = createHash("sha256");
  let size = 0;
  async function* hashed() {
    for await (const chunk of content) {
      await room?.take(chunk.byteLength);
      hash.update(chunk);
      size += chunk.byteLength;
      yield chunk;
    }
  }
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(hashed());
  } finally {
    await file.close();
  }
  return { path, size, digest: `sha256:${hash.digest("hex")}` };
}
