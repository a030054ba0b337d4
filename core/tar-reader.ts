// Reads a tar as it comes, in as much memory as a chunk takes.
//
// Of what a tar can hold, files, directories and links are given. All else is refused by name: a sparse file or a device would be read
// as something that it is not. A name is given as it is: whoever makes a path of it judges where that leads.

import { ByteReader } from "./byte-reader.ts";
import { BLOCK_BYTES, type Broken, paddingOf, parseHeader, type TarHeader } from "./tar-header.ts";

type Bytes = AsyncIterable<Uint8Array>;

export interface TarEntry {
  /** As the archive has it. */
  readonly name: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink";
  /** Permissions. */
  readonly mode: number;
  readonly modifiedMs: number;
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
/** So much of a name that is too long is told. */
const SHOWN = 64;

/** Of a header that only extends the next: two names, and pax has a few more fields. */
const MAX_EXTENSION_BYTES = 64 * 1024;
/** Fields of one such header. */
const MAX_RECORDS = 64;
/** In front of one entry: GNU has one for each of two names, pax one for the entry and one for all. */
const MAX_IN_A_ROW = 3;
/** All of an archive's together have so many bytes at most, and so many more for each entry: two names. */
const EXTENSIONS_BYTES = 1024 * 1024;
const EXTENSION_BYTES_OF_ENTRY = 2 * MAX_NAME_BYTES;

interface Extension {
  readonly path?: string | undefined;
  readonly linkpath?: string | undefined;
  readonly size?: number | undefined;
}

export interface TarRules {
  /** Headers, of which those that only extend the next count, too. */
  readonly maxEntries: number;
  readonly broken: Broken;
  readonly tooMany: (maxEntries: number) => Error;
}

/**
 * The entries, in the archive's order. It ends only after the archive's own end has been seen, and all that follows it read.
 * Errors: `broken` if it is cut short, no tar, or has what is not taken; `tooMany` over `maxEntries`; those of `archive`.
 */
export async function* readTar(archive: Bytes, rules: TarRules): AsyncGenerator<TarEntry> {
  const { maxEntries, broken, tooMany } = rules;
  const reader = new ByteReader(archive, () => broken("cut short"));
  const extensions = new Extensions(reader, broken);
  try {
    for (let headers = 1; ; headers++) {
      const header = parseHeader(await reader.take(BLOCK_BYTES), broken);
      if (!header) break;
      if (headers > maxEntries) throw tooMany(maxEntries);
      if (EXTENDING.includes(header.flag)) await extensions.read(header);
      else yield* entryOf(header, extensions.take(), { reader, broken });
    }
    await reader.drain();
  } finally {
    await reader.end();
  }
}

async function* entryOf(
  header: TarHeader,
  extension: Extension,
  { reader, broken }: { reader: ByteReader; broken: Broken },
): AsyncGenerator<TarEntry> {
  const name = extension.path ?? header.name;
  const linkTarget = extension.linkpath ?? header.linkTarget;
  if (Math.max(Buffer.byteLength(name), Buffer.byteLength(linkTarget)) > MAX_NAME_BYTES)
    throw broken(`a name of more than ${MAX_NAME_BYTES} bytes: ${JSON.stringify(name.slice(0, SHOWN))}…`);
  const type = TYPES.get(header.flag);
  if (!type) throw broken(`${JSON.stringify(name)} is an entry of type ${JSON.stringify(header.flag)}`);
  const size = extension.size ?? header.size;
  if (type !== "file" && size > 0) throw broken(`${JSON.stringify(name)} is a ${type} with content`);
  reader.open(size);
  const { mode, modifiedMs } = header;
  yield { name, type, mode, modifiedMs, size, linkTarget, content: reader.content() };
  await reader.skip(paddingOf(size));
}

/** The flags of headers that only extend what follows: GNU's of a long name and a long link, pax's of the next entry and of all. */
const EXTENDING = "LKxg";

/** What headers say of the next entry. Each costs its reader work and is nothing that is kept, so that there are bounds to them of their own. */
class Extensions {
  readonly #reader: ByteReader;
  readonly #broken: Broken;
  #next: Extension = {};
  #inARow = 0;
  #room = EXTENSIONS_BYTES;

  constructor(reader: ByteReader, broken: Broken) {
    this.#reader = reader;
    this.#broken = broken;
  }

  async read(header: TarHeader): Promise<void> {
    this.#count(header);
    const { flag, size } = header;
    // What is said of all entries, such as a comment, is nothing that we need.
    if (flag === "g") {
      this.#reader.open(size);
      return this.#reader.skip(paddingOf(size));
    }
    const bytes = await this.#reader.take(size);
    await this.#reader.skip(paddingOf(size));
    this.#next = { ...this.#next, ...this.#parse(header, bytes) };
  }

  /** For the entry that comes now. */
  take(): Extension {
    const extension = this.#next;
    this.#next = {};
    this.#inARow = 0;
    this.#room += EXTENSION_BYTES_OF_ENTRY;
    return extension;
  }

  #count({ name, size }: TarHeader): void {
    const shown = JSON.stringify(name);
    if (size > MAX_EXTENSION_BYTES)
      throw this.#broken(`an extension of ${size} bytes, more than ${MAX_EXTENSION_BYTES}: ${shown}`);
    if (++this.#inARow > MAX_IN_A_ROW)
      throw this.#broken(`more than ${MAX_IN_A_ROW} extensions of one entry: ${shown}`);
    this.#room -= size;
    if (this.#room < 0)
      throw this.#broken(
        `extensions of more than ${EXTENSIONS_BYTES} bytes, and ${EXTENSION_BYTES_OF_ENTRY} for each entry: ${shown}`,
      );
  }

  #parse({ flag, name }: TarHeader, bytes: Buffer): Extension {
    if (flag === "L") return { path: untilNul(bytes) };
    if (flag === "K") return { linkpath: untilNul(bytes) };
    return parsePax(bytes, (what) => this.#broken(`${what}: ${JSON.stringify(name)}`));
  }
}

function untilNul(bytes: Buffer): string {
  return bytes.toString("utf8").split("\0", 1)[0] ?? "";
}

/** `"23 path=some/long/name\n"`, one after the other: the number counts its own digits too. */
function parsePax(bytes: Buffer, broken: Broken): Extension {
  const fields = new Map<string, string>();
  for (let at = 0, records = 1; at < bytes.length; records++) {
    if (records > MAX_RECORDS) throw broken(`more than ${MAX_RECORDS} pax records in one header`);
    const length = Number(/^[1-9][0-9]{0,5} /.exec(bytes.toString("latin1", at, at + 7))?.[0]);
    const end = at + length;
    const record = end <= bytes.length ? /^[0-9]+ ([^=]+)=([\s\S]*)\n$/.exec(bytes.toString("utf8", at, end)) : null;
    if (!record) throw broken("not a pax record");
    fields.set(record[1] ?? "", record[2] ?? "");
    at = end;
  }
  if ([...fields.keys()].some((key) => key.startsWith("GNU.sparse."))) throw broken("a sparse file");
  const size = fields.get("size");
  if (size !== undefined && !/^[0-9]{1,15}$/.test(size)) throw broken("not a size in a pax record");
  return definedOnly({ path: fields.get("path"), linkpath: fields.get("linkpath"), size: size && Number(size) });
}

function definedOnly(extension: object): Extension {
  return Object.fromEntries(Object.entries(extension).filter(([, value]) => value !== undefined));
}
