// What a layer's tar says is what a container sees: the corners of the format, one by one.

import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runProgram, startProcess } from "../../runtime/host/command.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { NEVER, UID_BASE } from "../helpers/image-store.ts";
import { filesOf, hardLink, type SeenLayers, startSeeing, symlink } from "../helpers/seen-layers.ts";
import { paxFields, type TarEntry, tar } from "../helpers/tar-builder.ts";
import { walkLayers } from "../helpers/tree-walk.ts";

let layers: SeenLayers;

beforeEach(async () => {
  layers = await startSeeing();
});
afterEach(() => layers.stop());

test.each([
  ["a fraction", { mtime: "1700000000.123456789" }, "1700000000123456789"],
  ["before 1970", { mtime: "-86400" }, "-86400000000000"],
  ["a fraction before 1970", { mtime: "-1.5" }, "-1500000000"],
  ["after 2038", { mtime: "4102444800" }, "4102444800000000000"],
])(
  "a time with %s is kept to the nanosecond, on files, directories, symlinks and FIFOs",
  async (_what, pax, modified) => {
    const tree = await layers.see([
      { path: "d/", pax },
      { path: "d/f", content: "x", pax },
      { path: "d/l", type: "symlink", linkTarget: "f", pax },
      { path: "d/p", type: "fifo", pax },
    ]);
    for (const path of ["d", "d/f", "d/l", "d/p"]) expect(tree.get(path)).toMatchObject({ modified });
  },
);

test("a time that no file system holds becomes the nearest that it does", async () => {
  const tree = await layers.see([
    { path: "far", pax: { mtime: "9223372036854775807" } },
    { path: "early", pax: { mtime: "-9223372036854775807" } },
  ]);
  expect(BigInt(tree.get("far")?.modified ?? 0)).toBeGreaterThan(10n ** 19n);
  expect(BigInt(tree.get("early")?.modified ?? 0)).toBeLessThanOrEqual(-(2n ** 31n) * 10n ** 9n);
});

test("GNU's binary numbers are read: owners, sizes, and times before 1970", async () => {
  const tree = await layers.see([
    { path: "f", content: "x", uid: 65_535, gid: 1, modified: -86_400, binaryNumbers: true },
  ]);
  expect(tree.get("f")).toMatchObject({ owner: "65535:1", size: 1, modified: "-86400000000000" });
});

test("GNU's long names and link targets are read", async () => {
  const [path, target] = [`${"p".repeat(120)}/${"q".repeat(120)}`, "t".repeat(300)];
  const long = (type: "gnuLongName" | "gnuLongLink", text: string): TarEntry => ({
    path: "././@LongLink",
    type,
    content: `${text}\0`,
  });
  const tree = await layers.see([long("gnuLongLink", target), long("gnuLongName", path), symlink("cut", "cut")]);
  expect(tree.get(path)).toMatchObject({ type: "symlink", target });
});

test("a pax header for all entries does not disturb, and one for an entry wins over the entry", async () => {
  const tree = await layers.see([
    { path: "pax_global_header", type: "paxGlobal", content: paxFields({ comment: "0123456789abcdef" }) },
    { path: "short", content: "x", pax: { path: "true/name", uid: "7", gid: "8" } },
    { path: "l", type: "symlink", linkTarget: "short", pax: { linkpath: "true/name" } },
  ]);
  expect(filesOf(tree)).toEqual(["l", "true/name"]);
  expect(tree.get("true/name")).toMatchObject({ owner: "7:8" });
  expect(tree.get("l")).toMatchObject({ target: "true/name" });
});

test("set-id bits, xattrs and ACLs are kept, and an ACL's owners are shifted like a file's", async () => {
  // Version 2; user rw-, user 1000 r--, group r--, mask r--, others none.
  const acl = Buffer.from(
    "0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff",
    "hex",
  );
  const tree = await layers.see([
    {
      path: "program",
      mode: 0o6711,
      uid: 9,
      gid: 9,
      content: "x",
      xattrs: { "user.binary": Buffer.from([0, 10, 61, 255]) },
    },
    { path: "shared", content: "x", mode: 0o640, xattrs: { "system.posix_acl_access": acl } },
    { path: "sticky/", mode: 0o3777, gid: 50, xattrs: { "user.d": "" } },
    { path: "sticky/implied/f" },
    { path: "pipe", type: "fifo", mode: 0o6622, uid: 5 },
  ]);
  expect(tree.get("program")).toMatchObject({ mode: "0o6711", xattrs: { "user.binary": "000a3dff" } });
  expect(tree.get("shared")?.xattrs["system.posix_acl_access"]).toContainEqual([2, 4, 1000]);
  expect(tree.get("sticky")).toMatchObject({ mode: "0o3777", owner: "0:50", xattrs: { "user.d": "" } });
  expect(tree.get("sticky/implied")).toMatchObject({ mode: "0o755", owner: "0:0" });
  expect(tree.get("pipe")).toMatchObject({ type: "fifo", mode: "0o6622", owner: "5:0" });
});

/** cap_net_raw+ep: as setcap writes it, and with the root that it is for. */
const NET_RAW = "0100000200200000000000000000000000000000";
const NET_RAW_OF_ROOT = "010000030020000000000000000000000000000000000000";

/** What a program prints that user 1000 of a user namespace like a container's runs. */
async function runInUserNamespace(...command: string[]): Promise<string> {
  const holder = startProcess(["unshare", "--user", "sh", "-c", "echo ready; read _"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  try {
    await once(holder.stdout as Readable, "data");
    for (const map of ["uid_map", "gid_map"]) await writeFile(`/proc/${holder.pid}/${map}`, `0 ${UID_BASE} 65536`);
    return await runProgram([
      "nsenter",
      "--user",
      "--target",
      String(holder.pid),
      "-S",
      "1000",
      "-G",
      "1000",
      ...command,
    ]);
  } finally {
    holder.kill("SIGKILL");
  }
}

test.each([NET_RAW, NET_RAW_OF_ROOT])(
  "a file capability is one in the container's user namespace, and works there (%s)",
  async (value) => {
    const xattrs = { "security.capability": Buffer.from(value, "hex") };
    const places = await layers.unpack([
      { path: "busybox", mode: 0o755, content: readFileSync("/bin/busybox"), xattrs },
    ]);
    const tree = await walkLayers(places, UID_BASE);
    expect(tree.find(({ path }) => path === "busybox")).toMatchObject({ xattrs: { "security.capability": NET_RAW } });
    await runProgram(["chmod", "-R", "a+x", layers.host.stateDir]);
    const said = await runInUserNamespace(join(places[0] ?? "", "busybox"), "grep", "CapEff", "/proc/self/status");
    expect(said).toMatch(/^CapEff:\s*0000000000002000$/m);
  },
);

const device = (path: string): TarEntry => ({ path, type: "character", device: { major: 1, minor: 3 } });

test("where a device is left out a lower layer's file is seen, as with Docker in a user namespace, unless it is taken away as well", async () => {
  const lower = ["shown", "hidden", "gone"].map((path) => ({ path, content: path }));
  const upper = [{ path: ".wh.hidden" }, device("shown"), device("hidden"), device("gone"), { path: ".wh.gone" }];
  expect(filesOf(await layers.see(lower, upper))).toEqual(["shown"]);
});

test("a device is left out, and so are hard links to it, before and after", async () => {
  const tree = await layers.see([
    hardLink("dev/before", "dev/null"),
    hardLink("dev/first", "dev/before"),
    { path: "dev/sda", type: "block", device: { major: 8, minor: 0 } },
    { path: "dev/whiteout", type: "character", device: { major: 0, minor: 0 } },
    { path: "dev/null", content: "a file for a moment" },
    device("dev/null"),
    hardLink("dev/after", "dev/null"),
    device("dev/dir"),
    { path: "dev/dir/in" },
  ]);
  expect(filesOf(tree)).toEqual(["dev/dir/in"]);
});

test("what has no entry of its own is root's, 0755 and of 1970, so that a layer is the same on every host", async () => {
  const tree = await layers.see([{ path: "a/b/file", modified: 5, uid: 7 }]);
  for (const path of [".", "a", "a/b"])
    expect(tree.get(path)).toMatchObject({ mode: "0o755", owner: "0:0", modified: "0" });
});

test("whiteouts of what was in a directory that is now a file take nothing away", async () => {
  const tree = await layers.see(
    [{ path: "a/b/c" }],
    [{ path: "a", content: "file" }, { path: "a/.wh.b" }, { path: "a/b/.wh.c" }, { path: "a/.wh..wh..opq" }],
  );
  expect(filesOf(tree)).toEqual(["a"]);
});

test.each([
  ["before", [{ path: "d/.wh..wh..opq" }, { path: "d/" }, { path: "d/new" }]],
  ["after", [{ path: "d/" }, { path: "d/new" }, { path: "d/.wh..wh..opq" }]],
  ["between", [{ path: "d/new" }, { path: "d/.wh..wh..opq" }, { path: "d/", mode: 0o700 }]],
] satisfies [string, TarEntry[]][])("an opaque directory's mark may stand %s its entries", async (_where, upper) => {
  expect(filesOf(await layers.see([{ path: "d/old" }, { path: "d/sub/old" }, { path: "other" }], upper))).toEqual([
    "d/new",
    "other",
  ]);
});

test("a layer whose root is opaque hides all layers below it, now and after a restart", async () => {
  const lower = [{ path: "gone" }, { path: "d/gone" }];
  const image = buildImage({
    layers: [lower, [{ path: "d/stays" }, { path: ".wh..wh..opq" }], [{ path: "top" }]].map((layer) =>
      buildLayer(layer),
    ),
  });
  const { reference } = layers.registry.add("demo/opaque:1", image);
  for (const store of [layers.host.store, layers.host.restart()]) {
    const tree = await walkLayers((await store.ensure(reference, NEVER)).layers, UID_BASE);
    expect(tree.map(({ path }) => path)).toEqual([".", "d", "d/stays", "top"]);
  }
  expect(
    filesOf(await layers.see(lower, [{ path: "a/" }, symlink("a/root", "/"), { path: "a/root/.wh..wh..opq" }])),
  ).toEqual(["a/root"]);
});

test("what replaces something of another type hides it, in one layer and across layers", async () => {
  const lower = [
    { path: "to-file/old" },
    { path: "to-dir", content: "file" },
    symlink("link-to-dir", "/to-file"),
    { path: "back/old" },
    { path: "dir-to-link/old" },
  ];
  const upper = [
    { path: "to-file", content: "new" },
    { path: "to-dir/new" },
    { path: "link-to-dir/" },
    { path: "link-to-dir/new" },
    { path: "back", content: "a file for a moment" }, // Which would have removed the directory below.
    { path: "back/new" },
    symlink("dir-to-link", "to-dir"),
  ];
  upper.splice(5, 0, { path: "back/" });
  const tree = await layers.see(lower, upper);
  expect(filesOf(tree)).toEqual(["back/new", "dir-to-link", "link-to-dir/new", "to-dir/new", "to-file"]);
  expect(tree.get("to-file")).toMatchObject({ type: "file", size: 3 });
});

test("names are bytes, whatever character set they are in", async () => {
  const latin1 = Buffer.from("caf\xe9", "latin1").toString("latin1");
  const bytes = tar([{ path: "cafX", content: "x" }]);
  bytes[3] = 0xe9;
  const sum = bytes
    .subarray(0, 512)
    .fill(" ", 148, 156)
    .reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  const [layer = ""] = await layers.unpack(bytes);
  expect(readdirSync(layer, "latin1")).toEqual([latin1]);
});
