// What is foreign, a tar and the directory it goes into, writes nothing outside of that directory.

import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { unpack } from "../../../cli/unpack.ts";
import { type TarEntry, tar } from "../../helpers/tar-builder.ts";

let base: string;
let directory: string;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "mayfly-unpack-"));
  directory = join(base, "to", "here");
});
afterEach(() => rm(base, { recursive: true, force: true }));

async function put(entries: readonly TarEntry[] | Buffer): Promise<string[]> {
  const bytes = Buffer.isBuffer(entries) ? entries : tar(entries);
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
  };
  const names: string[] = [];
  for await (const name of unpack(chunks(), directory)) names.push(name);
  return names;
}

const everything = async () => (await readdir(base, { recursive: true })).toSorted();

describe("files of a tar", () => {
  test("come below the directory, which is made, with content, permissions and time", async () => {
    const long = `out/${"d/".repeat(80)}file`;
    const names = await put([
      { path: "out/a", content: "x".repeat(5000), mode: 0o640, modified: 981_173_106 },
      { path: "cut", pax: { path: long }, content: "deep" },
      { path: "out/empty" },
    ]);
    expect(names).toEqual(["out/a", long, "out/empty"]);
    expect(await readFile(join(directory, "out/a"), "utf8")).toBe("x".repeat(5000));
    const { mode, mtimeMs } = await stat(join(directory, "out/a"));
    expect([mode & 0o777, mtimeMs]).toEqual([0o640 & ~process.umask(), 981_173_106_000]);
    expect(await readFile(join(directory, long), "utf8")).toBe("deep");
  });

  test("replace what has their name, and are never written to it", async () => {
    await mkdir(join(directory, "out"), { recursive: true });
    const outside = join(base, "outside");
    await writeFile(outside, "untouched");
    await writeFile(join(directory, "out/old"), "old");
    await chmod(join(directory, "out/old"), 0o400);
    await symlink(outside, join(directory, "out/link"));
    await put([
      { path: "out/old", content: "new" },
      { path: "out/link", content: "new" },
    ]);
    expect(await readFile(outside, "utf8")).toBe("untouched");
    expect((await lstat(join(directory, "out/link"))).isFile()).toBe(true);
    expect(await readFile(join(directory, "out/old"), "utf8")).toBe("new");
  });

  test("go through no symlink that is in the directory", async () => {
    await mkdir(join(base, "outside"));
    await mkdir(directory, { recursive: true });
    await symlink(join(base, "outside"), join(directory, "out"));
    await expect(put([{ path: "out/x", content: "x" }])).rejects.toThrow("is in the way");
    expect(await readdir(join(base, "outside"))).toEqual([]);
  });

  test("do not take the place of a directory", async () => {
    await mkdir(join(directory, "out"), { recursive: true });
    await expect(put([{ path: "out", content: "x" }])).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(await everything()).toEqual(["to", "to/here", "to/here/out"]);
  });
});

test("nothing in a name steers the terminal that an error is told to", async () => {
  const name = "\u009b2J\u001b[31m";
  await mkdir(directory, { recursive: true });
  await mkdir(join(directory, `${name}d`));
  await writeFile(join(directory, `${name}f`), "");
  const entries: TarEntry[] = [
    { path: `${name}d`, content: "a directory is there" },
    { path: `${name}f/x`, content: "a file is there" },
    { path: `../${name}`, content: "it leads up" },
    { path: name, type: "fifo" },
  ];
  for (const entry of entries) {
    const error = await put([entry]).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error?.message).toContain("?2J");
    expect(error?.message).not.toMatch(/\p{C}/u);
  }
});

describe("a tar is refused", () => {
  test.each([
    ["with a name that leads up", { path: "../up", content: "x" }],
    ["with one that leads up on its way", { path: "out/../../up", content: "x" }],
    ["with an absolute one", { path: "/etc/mayfly-unpacked", content: "x" }],
    ["with an empty part in one", { path: "out//x", content: "x" }],
    ["with a symlink", { path: "out/link", type: "symlink", linkTarget: "/etc" }],
    ["with a hard link", { path: "out/link", type: "hardlink", linkTarget: "../../outside" }],
    ["with a directory", { path: "out/" }],
    ["with a device", { path: "out/null", type: "character", device: { major: 1, minor: 3 } }],
  ] as const)("%s, and nothing of it is there", async (_, entry) => {
    await expect(put([entry])).rejects.toMatchObject({ reason: "answer_invalid" });
    expect(await everything()).toEqual(["to", "to/here"]);
  });

  test("that is cut, and the file that is not whole is not there", async () => {
    const whole = tar([
      { path: "a", content: "a" },
      { path: "b", content: "x".repeat(5000) },
    ]);
    await expect(put(whole.subarray(0, 3000))).rejects.toMatchObject({ reason: "answer_invalid" });
    expect(await readdir(directory)).toEqual(["a"]);
  });
});
