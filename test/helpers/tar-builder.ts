// Writes tar streams from a list of entries, the impossible and the hostile ones included: names and owners are taken as
// they are given. POSIX ustar, with pax headers for what does not fit it.

export interface TarEntry {
  readonly path: string;
  /** "file" if it has content or says nothing; a path that ends in "/" is a "directory". */
  readonly type?: keyof typeof TYPE_FLAGS;
  /** 0644 for files, 0755 for directories. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970; 0 if it says nothing, so that equal lists make equal digests. */
  readonly modified?: number;
  readonly content?: string | Buffer;
  /** Of a symlink or hardlink. */
  readonly linkTarget?: string;
  readonly device?: { readonly major: number; readonly minor: number };
  readonly xattrs?: Readonly<Record<string, string | Buffer>>;
  /** Fields of a pax header in front of the entry, which says what the entry itself cannot: `{ mtime: "-1.5" }`. */
  readonly pax?: Readonly<Record<string, string>>;
  /** Numbers as GNU tar writes those that are too large or negative: binary, with the first bit set. */
  readonly binaryNumbers?: boolean;
}

const BLOCK = 512;
const TYPE_FLAGS = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
  pax: "x",
  paxGlobal: "g",
  gnuLongName: "L",
  gnuLongLink: "K",
} as const;

/** The whole archive, with its two closing blocks. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([
    ...entries.flatMap((entry) => [...paxHeader(entry), ...record(entry)]),
    Buffer.alloc(2 * BLOCK),
  ]);
}

function record(entry: TarEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? "");
  return [header(entry, content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)];
}

function header(entry: TarEntry, size: number): Buffer {
  const type = entry.type ?? (entry.path.endsWith("/") ? "directory" : "file");
  const block = Buffer.alloc(BLOCK);
  const number = (value: number, offset: number, width: number) =>
    entry.binaryNumbers ? writeBinary(block, value, { offset, width }) : writeOctal(block, value, { offset, width });
  block.write(entry.path, 0, 100, "utf8");
  number(entry.mode ?? (type === "directory" ? 0o755 : 0o644), 100, 8);
  number(entry.uid ?? 0, 108, 8);
  number(entry.gid ?? 0, 116, 8);
  number(size, 124, 12);
  number(entry.modified ?? 0, 136, 12);
  block.write(`        ${TYPE_FLAGS[type]}`, 148, "latin1");
  block.write(entry.linkTarget ?? "", 157, 100, "utf8");
  block.write("ustar\x0000", 257, "latin1");
  number(entry.device?.major ?? 0, 329, 8);
  number(entry.device?.minor ?? 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

interface Field {
  readonly offset: number;
  readonly width: number;
}

function writeOctal(block: Buffer, value: number, { offset, width }: Field): void {
  block.write(`${(value % 8 ** (width - 1)).toString(8).padStart(width - 1, "0")}\0`, offset, "latin1");
}

function writeBinary(block: Buffer, value: number, { offset, width }: Field): void {
  block.fill(value < 0 ? 0xff : 0, offset, offset + width);
  block.writeBigInt64BE(BigInt(value), offset + width - 8);
  block[offset] = value < 0 ? 0xff : (block[offset] ?? 0) | 0x80;
}

/** What ustar cannot hold goes into a header of its own, in front. */
function paxHeader(entry: TarEntry): Buffer[] {
  const fields: [string, string | Buffer][] = Object.entries(entry.xattrs ?? {}).map(([name, value]) => [
    `SCHILY.xattr.${name}`,
    value,
  ]);
  fields.push(...Object.entries(entry.pax ?? {}));
  if (entry.type?.startsWith("gnuLong")) return [];
  if (isTooLong(entry.path)) fields.push(["path", entry.path]);
  if (isTooLong(entry.linkTarget ?? "")) fields.push(["linkpath", entry.linkTarget ?? ""]);
  for (const owner of ["uid", "gid"] as const) {
    const id = entry[owner] ?? 0;
    if (id < 0 || id >= 8 ** 7) fields.push([owner, String(id)]);
  }
  if (fields.length === 0) return [];
  return record({ path: "PaxHeader", type: "pax", content: Buffer.concat(fields.map(paxField)) });
}

/** The content of a pax header. */
export function paxFields(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(fields).map(paxField));
}

/** ASCII of at most 100 bytes is what every reader agrees on. */
function isTooLong(text: string): boolean {
  return Buffer.byteLength(text) > 100 || /[^\x20-\x7e]/.test(text);
}

/** `"23 path=some/long/name\n"`: the number counts its own digits too. */
function paxField([name, value]: [string, string | Buffer]): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${name}=`), Buffer.from(value), Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}
