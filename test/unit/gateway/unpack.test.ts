// Tars as callers send them, the hostile ones included: what is taken of them, and in what words the others are refused.

import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isMayflyError } from "../../../core/errors.ts";
import { formatHeader } from "../../../core/tar-header.ts";
import { writeTar } from "../../../core/tar-writer.ts";
import { PIECE_BYTES, readEntries, UPLOAD_BOUNDS } from "../../../core/uploads.ts";
import { gunzipped } from "../../../gateway/uploads/gunzip.ts";
import { tarBytes, unpackTar } from "../../../gateway/uploads/unpack.ts";
import { inChunks, wholeOf } from "../../helpers/archive.ts";
import { type TarEntry, tar } from "../../helpers/tar-builder.ts";

const MIB = 1024 * 1024;

async function unpack(archive: Buffer | AsyncIterable<Uint8Array>, maxBytes = MIB) {
  const pieces: Buffer[] = [];
  const bytes = Buffer.isBuffer(archive) ? inChunks(archive) : archive;
  const unpacked = await unpackTar(gunzipped(bytes, tarBytes(maxBytes)), maxBytes, async (piece) => {
    pieces.push(piece);
  });
  const entries: { path: string; mode: number; content: string }[] = [];
  for await (const entry of readEntries(inChunks(Buffer.concat(pieces), 1000), () => new Error("cut short")))
    entries.push({ path: entry.path, mode: entry.mode, content: String(await wholeOf(entry.content)) });
  return { ...unpacked, pieces, list: entries };
}

const refusal = (archive: Buffer | AsyncIterable<Uint8Array>, maxBytes?: number) =>
  unpack(archive, maxBytes).then(
    () => "taken",
    (error: unknown) => (isMayflyError(error) ? `${error.reason}: ${error.message}` : error),
  );

describe("a tar that is taken", () => {
  test("is its files and directories in their order, with their permissions and without their owners", async () => {
    const { list, entries, bytes } = await unpack(
      tar([
        { path: "./" },
        { path: "./src/", mode: 0o700 },
        { path: "./src/main.c", content: "int main;", mode: 0o4755, uid: 7 },
        { path: "ü", content: "" },
        { path: `${"d/".repeat(90)}deep`, content: "x" },
      ]),
    );
    expect(list).toEqual([
      { path: "src/", mode: 0o700, content: "" },
      { path: "src/main.c", mode: 0o755, content: "int main;" },
      { path: "ü", mode: 0o644, content: "" },
      { path: `${"d/".repeat(90)}deep`, mode: 0o644, content: "x" },
    ]);
    expect([entries, bytes]).toEqual([4, "int main;x".length + "src/src/main.c".length + 2 + 184]);
  });

  test("comes in pieces of one size, whatever its files and chunks are", async () => {
    const content = Buffer.alloc(700_000, "a").toString();
    const { list, pieces } = await unpack(tar([{ path: "a", content }, ...manyFiles(3000)]));
    expect(list[0]?.content).toBe(content);
    expect(list).toHaveLength(3001);
    expect(pieces.slice(0, -1).every(({ length }) => length === PIECE_BYTES)).toBe(true);
  });

  test("may be gzip, whatever it is called", async () => {
    const { list } = await unpack(gzipSync(tar([{ path: "a", content: "x" }])));
    expect(list).toEqual([{ path: "a", mode: 0o644, content: "x" }]);
  });

  test("may have as many entries as the limit says, each with a long name", async () => {
    const long = "n".repeat(200);
    const files = Array.from({ length: UPLOAD_BOUNDS.entries }, (_, i) => ({ path: `${long}${i}` }));
    expect((await unpack(tar(files), 16 * MIB)).entries).toBe(UPLOAD_BOUNDS.entries);
  });

  test("is what our own writer makes of any names, sizes and modes", async () => {
    const name = fc.stringMatching(/^[a-zü/]{1,150}$/u).filter((text) => /^[^/]+(\/[^/]+)*$/.test(text));
    const file = fc.record({ name, mode: fc.nat(0o777), content: fc.uint8Array({ maxLength: 2000 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 8 }), async (files) => {
        const entries = files.map(({ name, mode, content }) => ({
          ...{ name, mode, size: content.length },
          content: () => [content],
        }));
        const { list } = await unpack(writeTar(entries, new AbortController().signal));
        expect(list).toEqual(
          files.map(({ name, mode, content }) => ({ path: name, mode, content: Buffer.from(content).toString() })),
        );
      }),
      { numRuns: 100 },
    );
  });
});

describe("a tar that is refused, by the entry and the limit", () => {
  test.each<[what: string, entry: TarEntry, word: string]>([
    ["climbs", { path: "../outside" }, '"../outside" has .. in it'],
    ["climbs in the middle", { path: "a/../../b" }, '"a/../../b" has .. in it'],
    ["climbs in a pax header", { path: `${"a/".repeat(80)}../x` }, "has .. in it"],
    ["is absolute", { path: "/etc/passwd" }, '"/etc/passwd" is an absolute path'],
    ["is a symlink", { path: "l", type: "symlink", linkTarget: "x" }, '"l" is a symlink: only files and directories'],
    [
      "is a hard link",
      { path: "l", type: "hardlink", linkTarget: "x" },
      '"l" is a hardlink: only files and directories',
    ],
    ["is a device", { path: "d", type: "character", device: { major: 1, minor: 3 } }, '"d" is an entry of type "3"'],
    ["is a pipe", { path: "p", type: "fifo" }, '"p" is an entry of type "6"'],
    ["is a file named as a directory", { path: "x/", type: "file" }, '"x/" is a file with the name of a directory'],
    ["is a directory with content", { path: "x/", content: "x" }, '"x/" is a directory with content'],
    ["is a file without a name", { path: "./.", type: "file" }, '"./." is a file with the name of a directory'],
    ["has a NUL in its name", { path: "x", pax: { path: "a\0b" } }, "is not UTF-8, or has a NUL in it"],
    ["is sparse", { path: "s", pax: { "GNU.sparse.major": "1" } }, "a sparse file"],
    ["has a name of 5,000 bytes", { path: "n".repeat(5000) }, `a name of more than 4096 bytes: "${"n".repeat(64)}"…`],
    ["has a path of 1,100 bytes", { path: "n/".repeat(550) }, "has more than 1024 bytes in its path"],
    ["has a part of 256 bytes", { path: `a/${"n".repeat(256)}` }, "has more than 255 bytes between two slashes"],
    ["has a size that is no number", { path: "s", pax: { size: "-1" } }, "not a size in a pax record"],
    ["has a pax header of a megabyte", { path: "s", pax: { comment: "c".repeat(MIB) } }, "an extension of 1048"],
  ])("an entry that %s", async (_what, entry, word) => {
    const said = await refusal(tar([{ path: "good", content: "x" }, entry]));
    expect(said).toContain("upload_invalid: ");
    expect(said).toContain(word);
  });

  test("a name that is not UTF-8", async () => {
    const archive = tar([{ path: "a", content: "x" }]);
    archive[0] = 0xff;
    archive.write(
      archive
        .subarray(0, 512)
        .reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0)
        .toString(8)
        .padStart(6, "0"),
      148,
      "latin1",
    );
    expect(await refusal(archive)).toContain("is not UTF-8");
  });

  test.each([2 ** 40, MIB])("a header that says %d bytes, before any of them is read", async (size) => {
    async function* beginning() {
      yield formatHeader("huge", size);
      throw new Error("read on");
    }
    expect(await refusal(beginning())).toBe(
      `body_too_large: with "huge" of ${size} bytes the upload is more than 1MiB`,
    );
  });

  test("one entry more than the limit", async () => {
    const files = Array.from({ length: UPLOAD_BOUNDS.entries + 1 }, (_, i) => ({ path: `${i}` }));
    expect(await refusal(tar(files))).toBe("upload_invalid: the tar has more than 10000 files and directories");
  });

  test.each([
    ["nothing", Buffer.alloc(0), "cut short"],
    ["no file", tar([{ path: "./" }]), "has no file in it"],
    ["no tar", Buffer.alloc(2048, "x"), "not a"],
    ["half a file", tar([{ path: "a", content: "x".repeat(5000) }]).subarray(0, 2000), "cut short"],
    ["no end", tar([{ path: "a", content: "x" }]).subarray(0, 1024), "cut short"],
    ["half a gzip", gzipSync(tar([{ path: "a", content: "x".repeat(5000) }])).subarray(0, 60), "the gzip is not whole"],
  ])("what has %s", async (_what, archive, word) => {
    const said = await refusal(archive);
    expect(said).toContain("upload_invalid: ");
    expect(said).toContain(word);
  });

  test("headers that only extend the next, without an end", async () => {
    const block = tar([{ path: "ü" }]).subarray(0, 1024);
    async function* endless() {
      for (;;) yield block;
    }
    expect(await refusal(endless())).toBe('upload_invalid: the tar: more than 3 extensions of one entry: "PaxHeader"');
  });

  test("a gzip of zeros behind its end", async () => {
    const bomb = gzipSync(Buffer.concat([tar([{ path: "a", content: "x" }]), Buffer.alloc(64 * MIB)]));
    expect(await refusal(bomb)).toContain("body_too_large: what is in the gzip is more than");
  });

  test("what was changed anywhere, in our words, or it is a tar", async () => {
    const archive = tar([
      { path: "a/b", content: "hello" },
      { path: "ü", content: "x".repeat(600) },
    ]);
    const change = fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bytes = Buffer.from(archive);
        for (const [at, by] of changes) bytes[at] = (bytes[at] ?? 0) ^ by;
        expect(typeof (await refusal(bytes))).toBe("string");
      }),
      { numRuns: 200 },
    );
  });
});

test("of what comes byte by byte nothing is held but the piece that it is gathered in", async () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  const archive = tar([{ path: "a", content }]);
  // Always the same byte of memory: whoever holds what it has been given has other bytes the next time.
  async function* byteByByte() {
    const chunk = Buffer.alloc(1);
    for (const byte of archive) {
      chunk[0] = byte;
      yield chunk;
    }
  }
  const pieces: Buffer[] = [];
  await unpackTar(byteByByte(), MIB, async (piece) => void pieces.push(piece));
  for await (const entry of readEntries(inChunks(Buffer.concat(pieces)), () => new Error("cut short")))
    expect((await wholeOf(entry.content)).equals(content)).toBe(true);
  expect(pieces.map(({ buffer }) => buffer.byteLength)).toEqual([PIECE_BYTES, PIECE_BYTES]);
});

test("nothing is read on while a piece is being kept, nor after one could not be", async () => {
  let read = 0;
  const archive = tar([{ path: "a", content: Buffer.alloc(4 * MIB) }]);
  async function* counted() {
    for await (const chunk of inChunks(archive, 64 * 1024)) {
      read += chunk.length;
      yield chunk;
    }
  }
  const keep = async () => {
    throw new Error("no room");
  };
  await expect(unpackTar(counted(), 8 * MIB, keep)).rejects.toThrow("no room");
  expect(read).toBeLessThan(2 * PIECE_BYTES);
});

function manyFiles(count: number): TarEntry[] {
  return Array.from({ length: count }, (_, i) => ({ path: `f${i}`, content: "y".repeat(i % 100) }));
}
