import { mkdtempSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import type { ImageStoreOptions } from "../../runtime/image/store.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";
import { type TarEntry, tar } from "../helpers/tar-builder.ts";

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
