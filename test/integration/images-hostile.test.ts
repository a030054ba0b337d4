import { mkdtempSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import type { ImageStoreOptions } from "../../runtime/image/store.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";
import { type TarEntry, tar } from "../helpers/tar-builder.ts";
import { walkLayers } from "../helpers/tree-walk.ts";

/** What the layers below try to reach. */
const VICTIM = mkdtempSync(join(tmpdir(), "mayfly-victim-"));

let registry: FakeRegistry;
let host: StoreUnderTest;

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  await writeFile(join(VICTIM, "secret"), "untouched");
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});
afterAll(() => rm(VICTIM, { recursive: true }));

async function unpackHostile(
  entries: readonly TarEntry[] | Buffer,
  options: Partial<ImageStoreOptions> = {},
): Promise<string> {
  const { reference } = registry.add("demo/hostile:1", buildImage({ layers: [buildLayer(entries)] }));
  return (await host.restart(options).ensure(reference, NEVER)).layers[0] ?? "";
}

async function expectUntouched(): Promise<void> {
  expect(await readdir(VICTIM)).toEqual(["secret"]);
  expect(await readFile(join(VICTIM, "secret"), "utf8")).toBe("untouched");
}

const HUGE_ID = 4_294_967_295;

const deep = (levels: number): TarEntry => ({ path: "d/".repeat(levels) });
const numbered = (count: number, entry: (index: number) => TarEntry) =>
  Array.from({ length: count }, (_, i) => entry(i));
/** A file of one hole, as GNU tar writes it in its 1.0 form: a map of no data. */
const hole = (size: string): TarEntry => ({
  path: "GNUSparseFile.0/hole",
  content: Buffer.from("0\n".padEnd(512, "\0")),
  pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": size },
});

const REFUSED: readonly [string, readonly TarEntry[], RegExp][] = [
  ["climbs by its name", [{ path: "../../escaped" }], /'\.\.'/],
  ["climbs in the middle of its name", [{ path: "a/../../../escaped" }], /'\.\.'/],
  [
    "writes through a symlink to the host's tree",
    [{ path: "l", type: "symlink", linkTarget: VICTIM }, { path: "l/new" }],
    /cannot go through/,
  ],
  [
    "writes through a symlink that climbs",
    [{ path: "l", type: "symlink", linkTarget: `../../../../../..${VICTIM}` }, { path: "l/new" }],
    /cannot go through/,
  ],
  ["hard-links a file of the host", [{ path: "h", type: "hardlink", linkTarget: `${VICTIM}/secret` }], /cannot link/],
  ["hard-links by climbing", [{ path: "h", type: "hardlink", linkTarget: `../..${VICTIM}/secret` }], /'\.\.'/],
  ["hard-links a directory", [{ path: "d/" }, { path: "h", type: "hardlink", linkTarget: "d" }], /cannot link/],
  ["has an owner outside the range", [{ path: "f", uid: 65_536 }], /outside 0 to 65535/],
  ["has an owner that means nobody", [{ path: "f", gid: HUGE_ID }], /outside 0 to 65535/],
  ["has an owner below zero", [{ path: "f", uid: -1 }], /outside 0 to 65535/],
  ["whites out its own parent", [{ path: "d/.wh..." }], /whiteout of nothing/],
  ["whites out nothing", [{ path: "d/.wh." }], /whiteout of nothing/],
  ["makes its root a file", [{ path: "." }], /not a directory/],
  [
    "has a file where a later entry needs a directory",
    [{ path: "f", content: "x" }, { path: "f/in" }],
    /cannot go through/,
  ],
  ["loops through symlinks", [{ path: "l", type: "symlink", linkTarget: "l" }, { path: "l/in" }], /cannot go through/],
  ["is deeper than any tree", [{ path: "d/".repeat(600) }], /deeper than/],
  ["has a name longer than any path", [{ path: "d".repeat(5_000) }], /longer than/],
  [
    "has a file of eight exbibytes, all of them a hole",
    [hole("9223372036854775807")],
    /1099511627776 bytes, holes included: hole/,
  ],
  ["has a file of a hole too large", [hole("1099511627777")], /1099511627776 bytes, holes included: hole/],
  [
    "has more xattrs than allowed",
    [
      {
        path: "f",
        xattrs: Object.fromEntries(numbered(129, (i) => ({ path: `user.${i}` })).map(({ path }) => [path, "x"])),
      },
    ],
    /more than 128 xattrs: f/,
  ],
  [
    "has xattrs larger than allowed",
    [{ path: "f", xattrs: { "user.x": "x".repeat(65_536) } }],
    /xattrs of more than 65536 bytes: f/,
  ],
  [
    "has an xattr larger than the file system's",
    [{ path: "f", xattrs: { "user.x": "x".repeat(60_000) } }],
    /xattr.* f/,
  ],
  ["is deeper than allowed by one level", [deep(512), deep(513)], /deeper than 512 levels: d\/d\//],
  [
    "links a file more often than a file system can",
    [{ path: "f" }, ...numbered(65_001, (i) => ({ path: `l${i}`, type: "hardlink", linkTarget: "f" }))],
    /cannot link l\d+: Too many links/,
  ],
  [
    "links through a symlink to the host's tree",
    [
      { path: "l", type: "symlink", linkTarget: VICTIM },
      { path: "h", type: "hardlink", linkTarget: "l/secret" },
    ],
    /cannot link h: its target l\/secret is not in the layer/,
  ],
  [
    "waits with a hard link until a symlink leads it out",
    [
      { path: "h", type: "hardlink", linkTarget: "way/secret" },
      { path: "way", type: "symlink", linkTarget: `../../../../../../../..${VICTIM}` },
    ],
    /cannot link h/,
  ],
  ["has a name longer than any file's", [{ path: "d".repeat(300) }], /too long/],
];

test.each(REFUSED)("a layer that %s is refused, and nothing of it is left", async (_what, entries, why) => {
  await expect(unpackHostile([{ path: "first" }, ...entries])).rejects.toMatchObject({
    reason: "image_corrupt",
    message: expect.stringMatching(why),
  });
  expect(host.layerNames()).toEqual([]);
  await expectUntouched();
});

test("symlinks of a lower layer lead an upper layer nowhere: each is unpacked by itself", async () => {
  const lower: TarEntry[] = [
    { path: "out", type: "symlink", linkTarget: VICTIM },
    { path: "up", type: "symlink", linkTarget: `../../../../../../../..${VICTIM}` },
    { path: "file", type: "symlink", linkTarget: `${VICTIM}/secret` },
  ];
  const upper: TarEntry[] = [
    { path: "out/secret", content: "overwritten" },
    { path: "up/new", content: "escaped" },
    { path: "file", content: "overwritten" },
  ];
  const image = buildImage({ layers: [buildLayer(lower), buildLayer(upper)] });
  const { layers } = await host.store.ensure(registry.add("demo/hostile:1", image).reference, NEVER);
  await expectUntouched();
  const tree = await walkLayers(layers, UID_BASE);
  expect(tree.map(({ path, type }) => `${path} ${type}`)).toEqual([
    ". directory",
    "file file",
    "out directory",
    "out/secret file",
    "up directory",
    "up/new file",
  ]);
});

test("a sparse file of single bytes counts as the blocks that it takes on disk", async () => {
  const extents = numbered(500, () => ({ path: "" })).map((_, index) => `${index * 8192}\n1\n`);
  const map = `500\n${extents.join("")}`;
  const padded = map.padEnd(Math.ceil(map.length / 512) * 512, "\0");
  const bytes = Buffer.concat([Buffer.from(padded), Buffer.alloc(500, "x")]);
  const entry = { ...hole(String(500 * 8192)), content: bytes };
  const limited = { unpackLimits: { entries: 10, bytes: 2 ** 20 } };
  await expect(unpackHostile([entry], limited)).rejects.toMatchObject({
    message: expect.stringContaining("more than 1048576 bytes on disk, at hole"),
  });
  expect(await unpackHostile([entry], { unpackLimits: { entries: 10, bytes: 2 ** 21 } })).toMatch(/sha256/);
  expect((await host.store.admin.usage()).total).toBeGreaterThanOrEqual(500 * 4096);
});

test("names of directories are remembered up to a limit, not until memory is full", async () => {
  const long = `${"n".repeat(250)}/`.repeat(15);
  const entries = numbered(18_000, () => ({ path: long })); // One directory again and again: what counts is the names.
  await expect(unpackHostile(entries)).rejects.toMatchObject({
    message: expect.stringMatching(/directories whose names take more than 67108864 bytes, at n+/),
  });
  expect(host.layerNames()).toEqual([]);
});

test("an absolute name stays inside the layer", async () => {
  const root = await unpackHostile([{ path: `${VICTIM}/secret`, content: "mine" }]);
  expect(await readFile(join(root, VICTIM, "secret"), "utf8")).toBe("mine");
  await expectUntouched();
});

test("replacing a symlink to the host's tree removes the symlink, not what it points to", async () => {
  await unpackHostile([
    { path: "l", type: "symlink", linkTarget: VICTIM },
    { path: "l", content: "file" },
  ]);
  await unpackHostile([
    { path: "m", type: "symlink", linkTarget: VICTIM },
    { path: "m/" },
    { path: "m/secret", content: "mine" },
  ]);
  await unpackHostile([
    { path: "d/l", type: "symlink", linkTarget: VICTIM },
    { path: "d", content: "file" },
  ]);
  await expectUntouched();
});

test("a layer of more entries than allowed is refused", async () => {
  const entries = Array.from({ length: 101 }, (_, index) => ({ path: `f${index}` }));
  const limits = { unpackLimits: { entries: 100, bytes: 2 ** 30 } };
  await expect(unpackHostile(entries, limits)).rejects.toMatchObject({
    message: expect.stringContaining("more than 100 entries"),
  });
  expect(host.layerNames()).toEqual([]);
});

test("directories that a layer only implies count as entries", async () => {
  const limits = { unpackLimits: { entries: 100, bytes: 2 ** 30 } };
  const entries = (levels: number) => numbered(10, (index) => ({ path: `${index}/${"d/".repeat(levels - 1)}f` }));
  await expect(unpackHostile(entries(10), limits)).rejects.toMatchObject({
    message: expect.stringContaining("more than 100 entries"),
  });
  expect(await unpackHostile(entries(9), limits)).toMatch(/sha256/);
});

test("a small blob that inflates beyond the limit is refused", async () => {
  const zeros = [{ path: "zeros", content: Buffer.alloc(8 * 2 ** 20) }];
  const limits = { unpackLimits: { entries: 100, bytes: 2 ** 20 } };
  await expect(unpackHostile(zeros, limits)).rejects.toMatchObject({
    message: expect.stringContaining("more than 1048576 bytes"),
  });
  expect(host.layerNames()).toEqual([]);
});

test("padding behind the end of the archive counts towards the limit", async () => {
  const limits = { unpackLimits: { entries: 100, bytes: 2 ** 20 } };
  await expect(unpackHostile(Buffer.alloc(8 * 2 ** 20), limits)).rejects.toMatchObject({ reason: "image_corrupt" });
});

test("a tree deeper than any path can name is removed when its layer fails", async () => {
  const step = `${"d".repeat(200)}/`.repeat(10);
  const entries: TarEntry[] = [{ path: step }];
  for (let level = 1; level < 8; level++) {
    entries.push({ path: `l${level}`, type: "symlink", linkTarget: level === 1 ? step : `l${level - 1}/${step}` });
    entries.push({ path: `l${level}/${step}` });
  }
  await expect(unpackHostile([...entries, { path: "../end" }])).rejects.toMatchObject({ reason: "image_corrupt" });
  expect(host.layerNames()).toEqual([]);
});

test("a name with control characters cannot forge a line of the message", async () => {
  const failure = await unpackHostile([{ path: "a\nERROR: forged\u001b[2J", uid: 65_536 }]).catch(
    (error: Error) => error.message,
  );
  expect(failure).toMatch(/^[ -~]+$/);
});

test.each([
  ["noise", Buffer.from("not a tar at all ".repeat(100))],
  ["a file cut short", tar([{ path: "f", content: "x".repeat(5_000) }]).subarray(0, 1024)],
])("a layer of %s is refused", async (_what, bytes) => {
  await expect(unpackHostile(bytes)).rejects.toMatchObject({ reason: "image_corrupt" });
  expect(host.layerNames()).toEqual([]);
});
