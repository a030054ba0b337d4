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
  try {
    let extension: Extension = {};
    for (let headers = 1; ; headers++) {
      const header = parseHeader(await reader.take(BLOCK_BYTES), broken);
      if (!header) break;
      if (headers > maxEntries) throw tooMany(maxEntries);
      const extending = await readExtension(header, reader, broken);
      if (extending) {
        extension = { ...extension, ...extending };
        continue;
      }
      yield* entryOf(header, extension, { reader, broken });
      extension = {};
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

/** What the header says of the next one, if that is all that it does. */
async function readExtension(header: TarHeader, reader: ByteReader, broken: Broken): Promise<Extension | undefined> {
  if (!"gxLK".includes(header.flag)) return undefined;
  if (header.size > MAX_EXTENSION_BYTES) throw broken(`an extension of ${header.size} bytes`);
  const bytes = await reader.take(header.size);
  await reader.take(paddingOf(header.size));
  if (header.flag === "L") return { path: untilNul(bytes) };
  if (header.flag === "K") return { linkpath: untilNul(bytes) };
  const records = parsePax(bytes, broken);
  return header.flag === "x" ? records : {}; // What is said of all entries, such as a comment, is nothing that we need.
}

function untilNul(bytes: Buffer): string {
  return bytes.toString("utf8").split("\0", 1)[0] ?? "";
}

/** `"23 path=some/long/name\n"`, one after the other: the number counts its own digits too. */
function parsePax(bytes: Buffer, broken: Broken): Extension {
  const fields = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const length = Number(/^[1-9][0-9]{0,5} /.exec(bytes.toString("latin1", at, at + 7))?.[0]);
    const record = /^[0-9]+ ([^=]+)=([\s\S]*)\n$/.exec(bytes.toString("utf8", at, at + length));
    if (!record) throw broken("not a pax record");
    fields.set(record[1] ?? "", record[2] ?? "");
    at += length;
  }
  if ([...fields.keys()].some((key) => key.startsWith("GNU.sparse."))) throw broken("a sparse file");
  const size = fields.get("size");
  if (size !== undefined && !/^[0-9]{1,15}$/.test(size)) throw broken("not a size in a pax record");
  return definedOnly({ path: fields.get("path"), linkpath: fields.get("linkpath"), size: size && Number(size) });
}

function definedOnly(extension: object): Extension {
  return Object.fromEntries(Object.entries(extension).filter(([, value]) => value !== undefined));
}
