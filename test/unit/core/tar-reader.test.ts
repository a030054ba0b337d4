// Headers of a tar that only extend what follows: what is made of them, and how much of them is taken.

import { describe, expect, test } from "vitest";
import { readTar } from "../../../core/tar-reader.ts";
import { inChunks } from "../../helpers/archive.ts";
import { paxFields, type TarEntry, tar } from "../../helpers/tar-builder.ts";

const RULES = {
  maxEntries: 100_000,
  broken: (what: string) => new Error(what),
  tooMany: () => new Error("too many"),
};

async function namesIn(archive: Buffer, chunk?: number): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of readTar(inChunks(archive, chunk), RULES)) names.push(name);
  return names;
}

const LONG = "n".repeat(4096);
const fields = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`SCHILY.xattr.user.${i}`, "v"]));

describe("headers that extend an entry are taken", () => {
  test("of pax and of GNU, three in front of one entry, however the bytes come", async () => {
    const archive = tar([
      { path: "all", type: "paxGlobal", content: paxFields({ comment: "c".repeat(1000), path: "not this" }) },
      { path: "././@LongLink", type: "gnuLongLink", content: `${LONG}\0` },
      { path: "././@LongLink", type: "gnuLongName", content: `${LONG}\0` },
      { path: "short", type: "symlink", linkTarget: "x" },
      { path: "next", pax: { ...fields(62), path: "ü" } },
    ]);
    expect(await namesIn(archive)).toEqual([LONG, "ü"]);
    expect(await namesIn(archive, 1)).toEqual([LONG, "ü"]);
  });

  test("of as many entries as there are, each with two names of the longest", async () => {
    const entry: TarEntry = { path: "f", type: "symlink", pax: { path: LONG, linkpath: LONG } };
    expect(await namesIn(tar(Array.from({ length: 1000 }, () => entry)))).toHaveLength(1000);
  });

  test("with long attributes, as files in an image have them", async () => {
    const entry = { path: "f", xattrs: { "security.capability": Buffer.alloc(60_000, 0xff) } };
    expect(await namesIn(tar([entry]))).toEqual(["f"]);
  });

  test("unread, if they are of all entries: nothing of them is needed", async () => {
    const archive = tar([{ path: "all", type: "paxGlobal", content: "no pax record\n" }, { path: "f" }]);
    expect(await namesIn(archive)).toEqual(["f"]);
  });
});

describe("headers that extend an entry are refused", () => {
  test.each<[what: string, entries: readonly TarEntry[], said: string]>([
    [
      "four of one entry",
      [...Array.from({ length: 4 }, () => ({ path: "all", type: "paxGlobal" as const })), { path: "f" }],
      'more than 3 extensions of one entry: "all"',
    ],
    ["one of 65 fields", [{ path: "f", pax: fields(65) }], 'more than 64 pax records in one header: "PaxHeader"'],
    [
      "one of more than 64 KiB",
      [{ path: "all", type: "paxGlobal", content: Buffer.alloc(65_537) }],
      'an extension of 65537 bytes, more than 65536: "all"',
    ],
    [
      "one whose record is longer than itself",
      [{ path: "long", type: "pax", content: "30 path=short\n" }, { path: "f" }],
      'not a pax record: "long"',
    ],
    [
      "those that are more than a megabyte, and two names for each entry",
      Array.from({ length: 40 }, () => ({ path: "f", xattrs: { "user.x": "v".repeat(60_000) } })),
      'extensions of more than 1048576 bytes, and 8192 for each entry: "PaxHeader"',
    ],
  ])("%s", async (_what, entries, said) => {
    await expect(namesIn(tar(entries))).rejects.toThrow(said);
  });
});
