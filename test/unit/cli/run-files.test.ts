// What `mayfly run` brings along, from real files: inline ones, and a directory as a tar.

import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { packDirectory } from "../../../cli/pack.ts";
import { readBrought } from "../../../cli/run-files.ts";
import { RunUpload } from "../../../core/uploads.ts";
import { wholeOf } from "../../helpers/archive.ts";

let root: string;
let directory: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mayfly-run-files-"));
});
beforeEach(async () => {
  directory = await mkdtemp(join(root, "dir-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const file = async (path: string, content: string | Buffer, mode = 0o644) => {
  await writeFile(join(directory, path), content);
  await chmod(join(directory, path), mode);
  return join(directory, path);
};

const read = (flags: { file?: string[]; upload?: string; "upload-id"?: string }) =>
  readBrought({ file: [], upload: undefined, "upload-id": undefined, ...flags });

describe("--file", () => {
  it("is the file's bytes with its permissions, or with those that are said", async () => {
    const bytes = Buffer.from([0, 255, 10]);
    const tool = await file("tool", bytes, 0o750);
    const odd = await file("a:b", "x", 0o600);
    const { fields } = await read({ file: [`${tool}:/bin/tool`, `${tool}:/b:600:0711`, `${odd}:/c`] });
    const base64 = bytes.toString("base64");
    expect(fields.files).toEqual([
      { path: "/bin/tool", base64, mode: "0750" },
      { path: "/b:600", base64, mode: "0711" },
      { path: "/c", base64: "eA==", mode: "0600" },
    ]);
  });

  it.each([
    ["x", "is not LOCAL:/PATH"],
    ["x:relative", "is not LOCAL:/PATH"],
    ["/no/such/file:/x", "--file /no/such/file: ENOENT"],
    ["/tmp:/x", "--file /tmp: is not a file; --upload sends directories"],
  ])("that cannot be is told: %s", async (flag, message) => {
    await expect(read({ file: [flag] })).rejects.toThrow(message);
  });

  it("is not read if it is more than all may have together", async () => {
    const big = await file("big", "");
    await truncate(big, 4 * 2 ** 20 - 1);
    const two = await file("two", "xx");
    await expect(read({ file: [`${big}:/a`, `${two}:/b`] })).rejects.toThrow(
      "more than 4MiB together; --upload sends more",
    );
  });
});

describe("--upload and --upload-id", () => {
  it("say where, or leave it out", async () => {
    const one = await read({ upload: "a/dir:/src/x" });
    expect(one.directory).toBe("a/dir");
    expect(RunUpload.parse(one.fields.upload).path).toBe("/src/x");
    const other = await read({ "upload-id": "upl_01k3q7v2m8r4t6w9x1z3b5c7d9" });
    expect(other).toEqual({ fields: { upload: { id: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9" } }, directory: undefined });
  });

  it("exclude each other", async () => {
    await expect(read({ upload: ".", "upload-id": "upl_1" })).rejects.toThrow("exclude each other");
  });
});

describe("a directory as a tar", () => {
  it("is what tar(1) unpacks to the same files, with long names and permissions, without what is no file", async () => {
    const long = `${"deep-".repeat(18)}/${"name-ü".repeat(30)}`;
    await mkdir(join(directory, "deep-".repeat(18)));
    await mkdir(join(directory, "empty"));
    await file(long, "long");
    await file("tool", "#!/bin/sh\n", 0o755);
    await file("nothing", "");
    await symlink("/etc/passwd", join(directory, "link"));
    const { tar, entries, leftOut } = await packDirectory(directory);
    expect([entries, leftOut]).toEqual([5, ["link"]]);
    const archive = join(root, "archive.tar");
    await writeFile(archive, await wholeOf(tar));
    const listed = execFileSync("tar", ["--quoting-style=literal", "-tvf", archive], { encoding: "utf8" });
    const lines = listed
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/^(\S+)\s.*\d\d:\d\d /, "$1 "));
    expect(lines).toEqual([
      `drwxr-xr-x ${"deep-".repeat(18)}/`,
      `-rw-r--r-- ${long}`,
      "drwxr-xr-x empty/",
      "-rw-r--r-- nothing",
      "-rwxr-xr-x tool",
    ]);
    await mkdir(join(root, "unpacked"));
    execFileSync("tar", ["-xf", archive, "-C", join(root, "unpacked")]);
    await rm(join(directory, "link"));
    execFileSync("diff", ["-r", directory, join(root, "unpacked")]);
  });

  it("is the same bytes twice", async () => {
    for (const name of ["b", "a", "c"]) await file(name, name);
    const [one, two] = await Promise.all([packDirectory(directory), packDirectory(directory)]);
    expect(await wholeOf(one.tar)).toEqual(await wholeOf(two.tar));
  });

  it("breaks off if a file becomes shorter, and is cut to what was said if it grows", async () => {
    const shrinks = await file("shrinks", "x".repeat(1000));
    const shrunk = await packDirectory(directory);
    await truncate(shrinks, 10);
    await expect(wholeOf(shrunk.tar)).rejects.toThrow("shorter while it was sent");
    const grown = await packDirectory(directory);
    const before = await wholeOf((await packDirectory(directory)).tar);
    await writeFile(shrinks, "x".repeat(5000));
    expect(await wholeOf(grown.tar)).toEqual(before);
  });

  it("that is empty, missing or a file is an error that says so", async () => {
    await expect(packDirectory(directory)).rejects.toThrow("has no file in it");
    await expect(packDirectory(join(directory, "missing"))).rejects.toThrow("cannot be sent: ENOENT");
    await expect(packDirectory(await file("file", ""))).rejects.toThrow("cannot be sent: ENOTDIR");
  });
});
