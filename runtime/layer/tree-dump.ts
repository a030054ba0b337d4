// All that can be seen of a directory tree, entry by entry: by GNU tar, which also reads extended attributes and walks trees
// deeper than any path that Node could name. Its pax archive (POSIX pax, "ustar Interchange Format") is read here as it comes.

import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { finished, programFailed, startProcess } from "../host/command.ts";

export interface TreeEntry {
  readonly name: string;
  readonly isDirectory: boolean;
  /** Type, mode, owners, size, link target, device numbers and extended attributes, in a form of its own. */
  readonly facts: string;
  /** Seconds, as tar writes them. */
  readonly mtime: string;
  /** Hash of a file's bytes. */
  readonly content: string;
}

const BLOCK = 512;

/** In an order that only the names decide. Stopping early ends the program. Errors: `host_unavailable`; an aborted signal's, at its end. */
export async function* dumpTree(directory: string, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  const argv = ["tar", ...FLAGS, "--directory", directory, "--create", "--file", "-", "."] as const;
  const child = startProcess(["tar", ...argv.slice(1)], { stdio: ["ignore", "pipe", "pipe"], signal });
  const ended = finished(child);
  ended.catch(() => {}); // Awaited below, unless whoever reads stops early.
  let isRead = false;
  try {
    yield* readEntries(new Bytes(child.stdout as Readable));
    isRead = true;
  } finally {
    if (!isRead) child.kill("SIGKILL");
  }
  const end = await ended;
  if (end.exitCode !== 0) throw programFailed(argv, end);
}

/** Access and change times are nobody's making; a pax header's own name would have the program's id in it. */
const FLAGS = [
  "--format=posix",
  "--sort=name",
  "--numeric-owner",
  "--one-file-system",
  "--xattrs",
  "--xattrs-include=*",
  "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/pax/%f",
];

async function* readEntries(bytes: Bytes): AsyncGenerator<TreeEntry> {
  let extended = new Map<string, string>();
  for (;;) {
    const header = await bytes.take(BLOCK);
    if (header.length < BLOCK || header.every((byte) => byte === 0)) return bytes.drain();
    const size = Number(extended.get("size") ?? octal(header, 124, 12));
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === "x") {
      extended = paxRecords(await bytes.take(size));
    } else {
      yield { ...describe(header, type, extended), content: await bytes.hash(size) };
      extended = new Map();
    }
    await bytes.take(-size & (BLOCK - 1));
  }
}

function describe(header: Buffer, type: string, extended: ReadonlyMap<string, string>): Omit<TreeEntry, "content"> {
  const field = (offset: number, length: number) => text(header, offset, length);
  const prefix = field(345, 155);
  const name = extended.get("path") ?? (prefix ? `${prefix}/${field(0, 100)}` : field(0, 100));
  const owners = [extended.get("uid") ?? octal(header, 108, 8), extended.get("gid") ?? octal(header, 116, 8)];
  const size = extended.get("size") ?? octal(header, 124, 12);
  const link = extended.get("linkpath") ?? field(157, 100);
  const devices = [octal(header, 329, 8), octal(header, 337, 8)];
  const attributes = [...extended].filter(([key]) => key.startsWith("SCHILY.")).toSorted();
  return {
    name,
    isDirectory: type === "5",
    facts: JSON.stringify({ type, mode: octal(header, 100, 8), owners, size, link, devices, attributes }),
    mtime: extended.get("mtime") ?? String(octal(header, 136, 12)),
  };
}

/** `30 mtime=1763977121.884716907\n`: its own length in bytes, a key, a value. */
function paxRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let offset = 0; offset < bytes.length; ) {
    const blank = bytes.indexOf(0x20, offset);
    const length = Number(bytes.toString("latin1", offset, blank));
    if (blank < 0 || !(length > 0)) break;
    const record = bytes.toString("latin1", blank + 1, offset + length - 1);
    const equals = record.indexOf("=");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    offset += length;
  }
  return records;
}

function text(header: Buffer, offset: number, length: number): string {
  return header.toString("latin1", offset, offset + length).replace(/\0.*$/s, "");
}

function octal(header: Buffer, offset: number, length: number): number {
  return Number.parseInt(text(header, offset, length).trim() || "0", 8);
}

/** A stream in pieces of the length that one asks for; shorter ones at its end. */
class Bytes {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    await this.#pass(length, (part) => parts.push(part));
    return Buffer.concat(parts);
  }

  async hash(length: number): Promise<string> {
    const hash = createHash("sha256");
    await this.#pass(length, (part) => hash.update(part));
    return hash.digest("hex");
  }

  /** A program whose output nobody reads does not end. */
  async drain(): Promise<void> {
    await this.#pass(Number.POSITIVE_INFINITY, () => {});
  }

  async #pass(length: number, to: (part: Buffer) => void): Promise<void> {
    for (let missing = length; missing > 0; ) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done) return;
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      to(part);
    }
  }
}
