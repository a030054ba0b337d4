// One header of a tar: 512 bytes of POSIX ustar, with what GNU and pax add to it (pax(1), "ustar Interchange Format").

export const BLOCK_BYTES = 512;

/** How whoever reads a tar says that it is none. */
export type Broken = (what: string) => Error;

export interface TarHeader {
  readonly name: string;
  /** Permissions, and nothing else of st_mode. */
  readonly mode: number;
  /** In whole seconds. */
  readonly modifiedMs: number;
  /** The type flag: "0" of a file. */
  readonly flag: string;
  readonly size: number;
  readonly linkTarget: string;
}

/** As many as a header has for a name. */
export const NAME_BYTES = 100;

/** Where each field is, from and to. */
const NAME = [0, NAME_BYTES] as const;
const MODE = [100, 108] as const;
const SIZE = [124, 136] as const;
const MODIFIED = [136, 148] as const;
const SUM = [148, 156] as const;
const FLAG = [156, 157] as const;
const LINK = [157, 257] as const;
const MAGIC = [257, 265] as const;
const PREFIX = [345, 500] as const;
type Field = readonly [from: number, to: number];

const POSIX_MAGIC = "ustar\x0000";

/** Undefined for the block of zeros that ends an archive; throws `broken` for what is no header. */
export function parseHeader(block: Buffer, broken: Broken): TarHeader | undefined {
  const sum = sumOf(block);
  if (sum === 0) return undefined;
  const number = (field: Field) => numberIn(block, field, broken);
  if (number(SUM) !== sum + " ".charCodeAt(0) * (SUM[1] - SUM[0])) throw broken("not a tar header");
  // GNU keeps other things where POSIX has the prefix.
  const prefix = block.toString("latin1", ...MAGIC) === POSIX_MAGIC ? textIn(block, PREFIX) : "";
  const name = textIn(block, NAME);
  return {
    name: prefix ? `${prefix}/${name}` : name,
    mode: number(MODE) & 0o777,
    modifiedMs: number(MODIFIED) * 1000,
    flag: block.toString("latin1", ...FLAG).replace("\0", "0"),
    size: number(SIZE),
    linkTarget: textIn(block, LINK),
  };
}

export interface HeaderOptions {
  /** "0" of a file, without it. */
  readonly flag?: string;
  readonly mode?: number;
  readonly modifiedMs?: number;
}

/** Of an entry that belongs to root and is, if nothing else is said, as old as 1970: equal names, sizes and modes make equal bytes. A name has at most 100 bytes. */
export function formatHeader(
  name: string,
  size: number,
  { flag = "0", mode = 0o644, modifiedMs = 0 }: HeaderOptions = {},
): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, NAME[0], NAME[1], "utf8");
  block.write(`${octal(mode, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, MODE[0], "latin1");
  writeSize(block, size);
  block.write(`${octal(Math.floor(modifiedMs / 1000), 11)}\0`, MODIFIED[0], "latin1");
  block.write(flag, FLAG[0], "latin1");
  block.write(POSIX_MAGIC, MAGIC[0], "latin1");
  const sum = sumOf(block) + " ".charCodeAt(0) * (SUM[1] - SUM[0]);
  block.write(`${octal(sum, 6)}\0 `, SUM[0], "latin1");
  return block;
}

/** How many zeros follow so many bytes of content. */
export function paddingOf(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** Of all bytes but those of the sum itself. */
function sumOf(block: Buffer): number {
  let sum = 0;
  for (const [index, byte] of block.entries()) sum += index >= SUM[0] && index < SUM[1] ? 0 : byte;
  return sum;
}

/** To the first NUL. */
function textIn(block: Buffer, [from, to]: Field): string {
  const field = block.subarray(from, to);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.length : end);
}

/** Octal, as `00000001750\0`; or, from 8 GiB on, GNU's base 256: a bit that says so, and the number's bytes. */
function numberIn(block: Buffer, field: Field, broken: Broken): number {
  if (((block[field[0]] ?? 0) & 0x80) !== 0) return base256(block.subarray(...field), broken);
  const digits = /^ *([0-7]*)[ \0]*$/.exec(block.toString("latin1", ...field))?.[1];
  if (digits === undefined) throw broken("not a number in a tar header");
  return Number.parseInt(digits || "0", 8);
}

function base256(field: Buffer, broken: Broken): number {
  const number = field.reduce((total, byte, index) => total * 256 + (index === 0 ? byte & 0x7f : byte), 0);
  if (!Number.isSafeInteger(number)) throw broken("a number in a tar header is too large");
  return number;
}

function writeSize(block: Buffer, size: number): void {
  if (size < 8 ** 11) return void block.write(`${octal(size, 11)}\0`, SIZE[0], "latin1");
  block.writeUInt8(0x80, SIZE[0]);
  block.writeBigUInt64BE(BigInt(size), SIZE[1] - 8);
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}
