import { lstat, mkdir, readdir, readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runProgram } from "../../runtime/host/command.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";
import type { TarEntry } from "../helpers/tar-builder.ts";

let registry: FakeRegistry;
let host: StoreUnderTest;

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

/** The directories of an image whose layers have these entries, the lowest first. */
async function unpackLayers(...layers: (TarEntry[] | Buffer)[]): Promise<string[]> {
  const image = buildImage({ layers: layers.map((layer) => buildLayer(layer)) });
  return [...(await host.store.ensure(registry.add("demo/a:1", image).reference, NEVER)).layers];
}

async function unpackLayer(...entries: TarEntry[]): Promise<string> {
  return (await unpackLayers(entries))[0] ?? "";
}

/** What a container would see: the layers below an overlay of the kernel's, in a mount namespace that ends with the script. */
async function seeMerged(layers: string[], script: string): Promise<string> {
  const merged = join(host.stateDir, "merged");
  await mkdir(merged);
  const mount = `mount -t overlay overlay -o lowerdir=${layers.toReversed().join(":")} ${merged} && cd ${merged}`;
  return runProgram(["unshare", "-m", "sh", "-c", `${mount} && ${script}`]);
}

/** Permission bits, set-id and sticky ones included, as `chmod` takes them. */
async function modeOf(path: string): Promise<string> {
  return ((await lstat(path)).mode & 0o7777).toString(8);
}

test("owners are shifted by the uid base, for every type of entry", async () => {
  const root = await unpackLayer(
    { path: "d/", uid: 1, gid: 2 },
    { path: "d/file", uid: 65_535, gid: 65_535 },
    { path: "d/link", type: "symlink", linkTarget: "/nowhere", uid: 3, gid: 4 },
    { path: "d/fifo", type: "fifo", uid: 5, gid: 6 },
  );
  const owners = { d: [1, 2], "d/file": [65_535, 65_535], "d/link": [3, 4], "d/fifo": [5, 6] };
  for (const [path, [uid = 0, gid = 0]] of Object.entries(owners)) {
    expect(await lstat(join(root, path))).toMatchObject({ uid: UID_BASE + uid, gid: UID_BASE + gid });
  }
});

test("modes are kept exactly, set-id and sticky bits included", async () => {
  const modes = { plain: 0o640, setuid: 0o4755, setgid: 0o2755, none: 0, sticky: 0o1777 };
  const root = await unpackLayer(
    ...Object.entries(modes).map(([path, mode]) => ({ path, mode, uid: 7, content: "x" })),
  );
  for (const [path, mode] of Object.entries(modes)) expect(await modeOf(join(root, path))).toBe(mode.toString(8));
});

test("times are kept, those of directories too although they were filled later", async () => {
  const root = await unpackLayer({ path: "d/", modified: 1_000 }, { path: "d/f", modified: 2_000 });
  expect((await lstat(join(root, "d"))).mtimeMs).toBe(1_000_000);
  expect((await lstat(join(root, "d/f"))).mtimeMs).toBe(2_000_000);
});

test("hard links share one file", async () => {
  const root = await unpackLayer(
    { path: "a/original", content: "shared" },
    { path: "b/link", type: "hardlink", linkTarget: "./a/original" },
  );
  const [original, link] = [await lstat(join(root, "a/original")), await lstat(join(root, "b/link"))];
  expect(link).toMatchObject({ ino: original.ino, nlink: 2 });
});

test("names keep their bytes: long ones, and both spellings of an accent", async () => {
  const names = ["n".repeat(200), "e\u0301", "\u00e9", `${"d".repeat(90)}/${"f".repeat(90)}`];
  const root = await unpackLayer(...names.map((path) => ({ path })), {
    path: "hard",
    type: "hardlink",
    linkTarget: "e\u0301",
  });
  for (const name of names) await lstat(join(root, name));
  expect((await readdir(root)).filter((name) => name.length <= 2).sort()).toEqual(["e\u0301", "\u00e9"]);
});

test("extended attributes are kept, except those that steer the host", async () => {
  const steering = { "user.kept": "1", "user.overlay.opaque": "y", "trusted.overlay.opaque": "y" };
  const netRaw = Buffer.from("0100000200200000000000000000000000000000", "hex"); // What setcap writes for cap_net_raw+ep.
  const xattrs = { ...steering, "security.capability": netRaw };
  const root = await unpackLayer({ path: "f", content: "x", xattrs }, { path: "d/", xattrs: steering });
  const script = "import os,sys; [print(p[-1], name) for p in sys.argv[1:] for name in sorted(os.listxattr(p))]";
  const seen = await runProgram(["python3", "-c", script, join(root, "f"), join(root, "d")]);
  expect(seen.split("\n").filter(Boolean)).toEqual(["f security.capability", "f user.kept", "d user.kept"]);
});

test("a whiteout is what overlayfs takes for one: a character device 0:0", async () => {
  const [, upper = ""] = await unpackLayers([{ path: "etc/gone" }, { path: "etc/stays" }], [{ path: "etc/.wh.gone" }]);
  const whiteout = await lstat(join(upper, "etc/gone"));
  expect(whiteout.isCharacterDevice()).toBe(true);
  expect(whiteout.rdev).toBe(0);
});

test("an image that has a layer more than once, as those have whose steps change nothing, can be mounted, and the last one counts", async () => {
  const [empty, first] = [
    [],
    [
      { path: "a/f", content: "first" },
      { path: "b/f", content: "first" },
    ],
  ];
  const between = [{ path: "a/f", content: "between" }, { path: "b/.wh.f" }, { path: "c" }];
  const layers = await unpackLayers(empty, first, empty, between, first, empty);
  expect(await seeMerged(layers, "cat a/f b/f && ls")).toBe("firstfirsta\nb\nc\n");
});

test("whiteouts and opaque directories hide what is below, and only that", async () => {
  const lower = [{ path: "a/gone" }, { path: "a/stays" }, { path: "b/gone" }, { path: "c/gone" }, { path: "e/gone" }];
  const upper: TarEntry[] = [
    { path: "a/.wh.gone" },
    { path: "b/new" },
    { path: "b/.wh..wh..opq" },
    { path: ".wh.c" },
    { path: "c/new" }, // The same layer makes it anew: nothing of the lower one may show through.
    { path: "e/new" },
    { path: ".wh.e" }, // As above, in the other order.
  ];
  const layers = await unpackLayers(lower, upper);
  expect((await seeMerged(layers, "find a b c e -type f | sort")).split("\n").filter(Boolean)).toEqual([
    "a/stays",
    "b/new",
    "c/new",
    "e/new",
  ]);
});

test("metadata of AUFS is left out", async () => {
  const root = await unpackLayer(
    { path: ".wh..wh.aufs" },
    { path: ".wh..wh.plnk/12.34" },
    { path: "a/.wh..wh.orph/" },
    { path: "b" },
  );
  expect((await readdir(root)).sort()).toEqual(["a", "b"]);
  expect(await readdir(join(root, "a"))).toEqual([]);
});

test("a directory without an entry of its own is root's, with mode 0755", async () => {
  const root = await unpackLayer({ path: "implied/deep/f", uid: 5 });
  expect(await lstat(join(root, "implied"))).toMatchObject({ uid: UID_BASE, gid: UID_BASE });
  expect(await modeOf(join(root, "implied/deep"))).toBe("755");
});

test("the root of a layer takes its entry's owner and mode, and 0755 root without one", async () => {
  const [plain = "", own = ""] = await unpackLayers([{ path: "a" }], [{ path: "./", mode: 0o700, uid: 9 }]);
  expect(await lstat(plain)).toMatchObject({ uid: UID_BASE });
  expect(await modeOf(plain)).toBe("755");
  expect(await lstat(own)).toMatchObject({ uid: UID_BASE + 9 });
  expect(await modeOf(own)).toBe("700");
});

test("a later entry replaces an earlier one of its name, whatever both are", async () => {
  const root = await unpackLayer(
    { path: "file-to-dir" },
    { path: "file-to-dir/" },
    { path: "file-to-dir/in" },
    { path: "dir-to-file/deep/x" },
    { path: "dir-to-file", content: "now a file" },
    { path: "link-to-dir", type: "symlink", linkTarget: "file-to-dir" },
    { path: "link-to-dir/" },
    { path: "twice", content: "first" },
    { path: "twice", content: "second" },
  );
  expect(await readdir(join(root, "file-to-dir"))).toEqual(["in"]);
  expect(await readFile(join(root, "dir-to-file"), "utf8")).toBe("now a file");
  expect((await lstat(join(root, "link-to-dir"))).isDirectory()).toBe(true);
  expect(await readFile(join(root, "twice"), "utf8")).toBe("second");
});

test("a symlink to a directory of the same layer is walked through, as after a usr merge", async () => {
  const root = await unpackLayer(
    { path: "usr/lib/" },
    { path: "lib", type: "symlink", linkTarget: "usr/lib" },
    { path: "lib/x", content: "merged" },
    { path: "opt", type: "symlink", linkTarget: "/usr/lib" },
    { path: "opt/y", content: "absolute" },
  );
  expect(await readlink(join(root, "lib"))).toBe("usr/lib");
  expect((await readdir(join(root, "usr/lib"))).sort()).toEqual(["x", "y"]);
});

test("device nodes are left out", async () => {
  const root = await unpackLayer(
    { path: "dev/null", type: "character", device: { major: 1, minor: 3 } },
    { path: "dev/whiteout", type: "character", device: { major: 0, minor: 0 } },
    { path: "dev/sda", type: "block", device: { major: 8, minor: 0 } },
  );
  // Whatever lower layers have of these names is not to be seen: the kernel shows whiteouts to nobody.
  for (const name of await readdir(join(root, "dev"))) expect((await stat(join(root, "dev", name))).rdev, name).toBe(0);
});

test.each(["gnu", "pax", "ustar", "v7"])("a layer that GNU tar wrote in its %s format is read", async (format) => {
  const source = join(host.stateDir, "source");
  await mkdir(join(source, "d".repeat(60)), { recursive: true });
  const name = format === "v7" || format === "ustar" ? "short" : "n".repeat(150);
  const script = `cd ${source} && truncate -s 3M ${name} && printf end | dd of=${name} bs=1 seek=1M conv=notrunc 2>/dev/null`;
  await runProgram(["sh", "-c", script]);
  const archive = join(host.stateDir, "layer.tar");
  const sparse = format === "gnu" || format === "pax" ? ["--sparse"] : [];
  await runProgram(["tar", `--format=${format}`, ...sparse, "-C", source, "-cf", archive, "."]);
  const [root = ""] = await unpackLayers(await readFile(archive));
  expect(await readFile(join(root, name))).toEqual(await readFile(join(source, name)));
  if (sparse.length > 0) expect((await lstat(join(root, name))).blocks).toBeLessThan(100);
});

test("layers of no bytes and of two empty blocks change nothing", async () => {
  const layers = await unpackLayers(Buffer.alloc(0), Buffer.alloc(1024));
  for (const layer of layers) expect(await readdir(layer)).toEqual([]);
});
