// A tar that a caller sends, on its way into pieces: read as it comes, and refused at the first thing that is not taken.
//
// Nothing that it says is believed. It is not unpacked here: of its entries the names are judged, and the bytes passed on. What a path leads to
// is for the container in which it is written (runtime/init/files.c).

import { MayflyError } from "../../core/errors.ts";
import { readTar, type TarEntry, type TarRules } from "../../core/tar-reader.ts";
import { formatSize } from "../../core/units.ts";
import { formatEntry, PIECE_BYTES, UPLOAD_BOUNDS } from "../../core/uploads.ts";

export interface Unpacked {
  /** Files and directories. */
  readonly entries: number;
  /** Of the files and their paths. */
  readonly bytes: number;
}

/** A file has a header of its own, and may have two more in front, for each of two long names. */
const HEADERS_OF_ENTRY = 3;

/** What a tar may have around its files: headers, names and padding of each, and what is left of its last record. */
const OVERHEAD_BYTES = UPLOAD_BOUNDS.entries * 4096 + 1024 * 1024;

/** How long a tar may be whose files are within `maxBytes`: no more is read, whatever is said to be in it. */
export const tarBytes = (maxBytes: number): number => maxBytes + OVERHEAD_BYTES;

const RULES: TarRules = {
  maxEntries: UPLOAD_BOUNDS.entries * HEADERS_OF_ENTRY,
  broken: (what) => new MayflyError("upload_invalid", `the tar: ${what}`),
  tooMany: () => tooMany(),
};

/**
 * Hands the tar's entries to `keep`, in pieces in the form of core/uploads.ts; the next piece is made once it has returned.
 * Errors: `upload_invalid` that names the entry, `body_too_large`, those of `tar` and `keep`.
 */
export async function unpackTar(
  tar: AsyncIterable<Uint8Array>,
  maxBytes: number,
  keep: (piece: Buffer) => Promise<void>,
): Promise<Unpacked> {
  const pieces = new Pieces(keep);
  let entries = 0;
  let bytes = 0;
  for await (const entry of readTar(tar, RULES)) {
    const path = pathOf(entry);
    if (path === undefined) continue;
    if (++entries > UPLOAD_BOUNDS.entries) throw tooMany();
    bytes += entry.size + Buffer.byteLength(path);
    if (bytes > maxBytes) throw tooLarge(entry, maxBytes);
    await pieces.add(formatEntry({ path, mode: entry.mode, bytes: entry.size }));
    for await (const chunk of entry.content) await pieces.add(chunk);
  }
  if (entries === 0) throw new MayflyError("upload_invalid", "the tar has no file in it");
  await pieces.flush();
  return { entries, bytes };
}

/** Undefined of the directory itself: `tar -C DIR .` begins with it. */
function pathOf({ name, type }: TarEntry): string | undefined {
  const refuse = (why: string) =>
    new MayflyError("upload_invalid", `${shown(name)} ${why}`, { details: { entry: name.slice(0, 256) } });
  if (type === "symlink" || type === "hardlink") throw refuse(`is a ${type}: only files and directories are taken`);
  if (name.startsWith("/")) throw refuse("is an absolute path");
  if (/[\0\uFFFD]/.test(name)) throw refuse("is not UTF-8, or has a NUL in it");
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refuse("has .. in it");
  const path = parts.join("/");
  if (type === "file" && (path === "" || name.endsWith("/"))) throw refuse("is a file with the name of a directory");
  if (Buffer.byteLength(path) > UPLOAD_BOUNDS.pathBytes)
    throw refuse(`has more than ${UPLOAD_BOUNDS.pathBytes} bytes in its path`);
  if (parts.some((part) => Buffer.byteLength(part) > UPLOAD_BOUNDS.nameBytes))
    throw refuse(`has more than ${UPLOAD_BOUNDS.nameBytes} bytes between two slashes`);
  if (path === "") return undefined;
  return type === "directory" ? `${path}/` : path;
}

/** Gathers small chunks, and cuts large ones. Copies: a sender may send byte by byte, and each chunk kept would be a hundred times as large. */
class Pieces {
  readonly #keep: (piece: Buffer) => Promise<void>;
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #length = 0;

  constructor(keep: (piece: Buffer) => Promise<void>) {
    this.#keep = keep;
  }

  async add(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; ) {
      const part = rest.subarray(0, PIECE_BYTES - this.#length);
      this.#piece.set(part, this.#length);
      this.#length += part.length;
      if (this.#length === PIECE_BYTES) await this.flush();
      rest = rest.subarray(part.length);
    }
  }

  async flush(): Promise<void> {
    if (this.#length === 0) return;
    const piece = this.#piece.subarray(0, this.#length);
    this.#length = 0;
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES); // The other belongs to who keeps it.
    await this.#keep(piece);
  }
}

function tooMany(): MayflyError {
  const limit = UPLOAD_BOUNDS.entries;
  return new MayflyError("upload_invalid", `the tar has more than ${limit} files and directories`, {
    details: { limit },
  });
}

function tooLarge({ name, size }: TarEntry, limit: number): MayflyError {
  const message = `with ${shown(name)} of ${size} bytes the upload is more than ${formatSize(limit)}`;
  return new MayflyError("body_too_large", message, { details: { limit, entry: name.slice(0, 256) } });
}

/** Of a name as long as it may be for an error. */
const SHOWN = 200;
const shown = (name: string): string => JSON.stringify(name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name);
