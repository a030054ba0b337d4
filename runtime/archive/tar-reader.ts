// Reads a tar as it comes, in as much memory as a chunk takes.
//
// Of what a tar can hold, archives of images need files, directories and links. All else is refused by name: a sparse file or a
// device would be read as something that it is not.

import { corrupt } from "../image/manifest.ts";
import { tooLarge } from "./archive.ts";
import { BLOCK_BYTES, paddingOf, parseHeader, type TarHeader } from "./tar-header.ts";

type Bytes = AsyncIterable<Uint8Array>;

export interface TarEntry {
  /** As the archive has it. */
  readonly name: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink";
  readonly size: number;
  /** Of a link. */
  readonly linkTarget: string;
  /** `size` bytes. To be read before the next entry is asked for; what is not read is skipped. */
  readonly content: Bytes;
}

const TYPES: ReadonlyMap<string, TarEntry["type"]> = new Map([
  ["0", "file"],
  ["7", "file"], // Contiguous: nobody tells the difference.
  ["1", "hardlink"],
  ["2", "symlink"],
  ["5", "directory"],
]);

/** Of a name, or of what a link leads to; Linux has no longer ones (PATH_MAX). They are kept until the archive's end. */
const MAX_NAME_BYTES = 4096;

/** Of a header that only extends the next: two names, and pax has a few more fields. */
const MAX_EXTENSION_BYTES = 64 * 1024;

interface Extension {
  readonly path?: string | undefined;
  readonly linkpath?: string | undefined;
  readonly size?: number | undefined;
}

/**
 * The entries, in the archive's order. It ends only after the archive's own end has been seen, and all that follows it read.
 * Errors: `image_corrupt` if it is cut short or no tar; `image_unsupported` over `maxEntries`; those of `archive`.
 */
export async function* readTar(archive: Bytes, maxEntries: number): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(archive);
  try {
    let extension: Extension = {};
    for (let headers = 1; ; headers++) {
      const header = parseHeader(await reader.take(BLOCK_BYTES));
      if (!header) break;
      if (headers > maxEntries) throw tooLarge(`${maxEntries} entries`);
      const extending = await readExtension(header, reader);
      if (extending) {
        extension = { ...extension, ...extending };
        continue;
      }
      yield* entryOf(header, extension, reader);
      extension = {};
    }
    await reader.drain();
  } finally {
    await reader.end();
  }
}

async function* entryOf(header: TarHeader, extension: Extension, reader: ByteReader): AsyncGenerator<TarEntry> {
  const name = extension.path ?? header.name;
  const linkTarget = extension.linkpath ?? header.linkTarget;
  if (Math.max(Buffer.byteLength(name), Buffer.byteLength(linkTarget)) > MAX_NAME_BYTES)
    throw corrupt(`archive: a name of more than ${MAX_NAME_BYTES} bytes`);
  const type = TYPES.get(header.flag);
  if (!type) throw corrupt(`archive: ${JSON.stringify(name)} is an entry of type ${JSON.stringify(header.flag)}`);
  const size = extension.size ?? header.size;
  if (type !== "file" && size > 0) throw corrupt(`archive: ${JSON.stringify(name)} is a ${type} with content`);
  reader.open(size);
  yield { name, type, size, linkTarget, content: reader.content() };
  await reader.skip(paddingOf(size));
}

/** What the header says of the next one, if that is all that it does. */
async function readExtension(header: TarHeader, reader: ByteReader): Promise<Extension | undefined> {
  if (!"gxLK".includes(header.flag)) return undefined;
  if (header.size > MAX_EXTENSION_BYTES) throw corrupt(`archive: an extension of ${header.size} bytes`);
  const bytes = await reader.take(header.size);
  await reader.take(paddingOf(header.size));
  if (header.flag === "L") return { path: untilNul(bytes) };
  if (header.flag === "K") return { linkpath: untilNul(bytes) };
  const records = parsePax(bytes);
  return header.flag === "x" ? records : {}; // What is said of all entries, such as a comment, is nothing that we need.
}

function untilNul(bytes: Buffer): string {
  return bytes.toString("utf8").split("\0", 1)[0] ?? "";
}

/** `"23 path=some/long/name\n"`, one after the other: the number counts its own digits too. */
function parsePax(bytes: Buffer): Extension {
  const fields = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const length = Number(/^[1-9][0-9]{0,5} /.exec(bytes.toString("latin1", at, at + 7))?.[0]);
    const record = /^[0-9]+ ([^=]+)=([\s\S]*)\n$/.exec(bytes.toString("utf8", at, at + length));
    if (!record) throw corrupt("archive: not a pax record");
    fields.set(record[1] ?? "", record[2] ?? "");
    at += length;
  }
  if ([...fields.keys()].some((key) => key.startsWith("GNU.sparse."))) throw corrupt("archive: a sparse file");
  const size = fields.get("size");
  if (size !== undefined && !/^[0-9]{1,15}$/.test(size)) throw corrupt("archive: not a size in a pax record");
  return definedOnly({ path: fields.get("path"), linkpath: fields.get("linkpath"), size: size && Number(size) });
}

function definedOnly(extension: object): Extension {
  return Object.fromEntries(Object.entries(extension).filter(([, value]) => value !== undefined));
}

/** Gives the bytes of an iterable in the portions that are asked for. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  /** Of the open entry's content. */
  #unread = 0;

  constructor(bytes: Bytes) {
    this.#chunks = bytes[Symbol.asyncIterator]();
  }

  /** Few bytes, all of them. */
  async take(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    this.open(count);
    for await (const part of this.content()) parts.push(part);
    return Buffer.concat(parts, count);
  }

  open(size: number): void {
    this.#unread = size;
  }

  async *content(): AsyncGenerator<Uint8Array> {
    while (this.#unread > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw corrupt("archive: cut short");
      const part = this.#rest.subarray(0, this.#unread);
      this.#rest = this.#rest.subarray(part.length);
      this.#unread -= part.length;
      yield part;
    }
  }

  /** What is unread of the content, and so many bytes after it. */
  async skip(count: number): Promise<void> {
    this.#unread += count;
    for await (const _ of this.content());
  }

  /** To the end: only there a checksum of the compression is found wrong. */
  async drain(): Promise<void> {
    while (await this.#more());
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (!done) this.#rest = value;
    return !done;
  }
}
