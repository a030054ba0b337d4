// Archives as an attacker, a broken disk or a lost connection makes them. `load` checks after each that nothing is left behind.

import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isMayflyError } from "../../../../core/errors.ts";
import { formatHeader } from "../../../../core/tar-header.ts";
import { hexOf } from "../../../../runtime/content/digest.ts";
import { inChunks, layoutEntries, load, makeShelf } from "../../../helpers/archive.ts";
import { buildImage, buildLayer } from "../../../helpers/image-builder.ts";
import { seeded } from "../../../helpers/seeded.ts";
import { type TarEntry, tar } from "../../../helpers/tar-builder.ts";

const IMAGE = buildImage({
  layers: ["lower", "upper"].map((path) => buildLayer([{ path, content: path.repeat(2000) }], "none")),
});
const ENTRIES = layoutEntries([{ image: IMAGE }]);
const ARCHIVE = tar(ENTRIES);
const LIMITS = { bytes: 1024 * 1024, entries: 100 };

const but = (path: string, change: Partial<TarEntry>) =>
  ENTRIES.map((entry) => (entry.path === path ? { ...entry, ...change } : entry));
const blob = (index: number) => `blobs/sha256/${hexOf(IMAGE.blobs[index]?.digest ?? "sha256:")}`;

test("an archive that is cut short anywhere is refused, and nothing of it is kept", async () => {
  const blocks = Array.from({ length: ARCHIVE.length / 512 - 1 }, (_, index) => index * 512);
  const random = seeded(7);
  const cuts = [...blocks.filter((at) => at < 4096 || random(4) === 0), 1, 511, 513, 777];
  for (const cut of cuts.filter((at) => at < ARCHIVE.length - 1024)) {
    for (const bytes of [ARCHIVE.subarray(0, cut), gzipSync(ARCHIVE.subarray(0, cut))]) {
      const shelf = makeShelf();
      await expect(load(bytes, shelf), `cut at ${cut}`).rejects.toMatchObject({ reason: "image_corrupt" });
      expect(shelf.blobs.size).toBe(0);
    }
  }
});

test.each([
  ["gzip", gzipSync(ARCHIVE)],
  ["zstd", zstdCompressSync(ARCHIVE)],
])("a %s stream that is cut short is refused, even in its last bytes", async (_how, bytes) => {
  for (const cut of [6, Math.floor(bytes.length / 2), bytes.length - 4, bytes.length - 1]) {
    await expect(load(bytes.subarray(0, cut))).rejects.toMatchObject({ reason: "image_corrupt" });
  }
});

test("an archive that was changed anywhere gives the same image or is refused in our words", async () => {
  const { digest } = IMAGE.manifest;
  const change = fc.tuple(fc.nat(ARCHIVE.length - 1), fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const bytes = Buffer.from(ARCHIVE);
      for (const [at, by] of changes) bytes[at] = (bytes[at] ?? 0) ^ by;
      const loaded = await load(bytes, makeShelf(), { limits: LIMITS }).catch((error: unknown) => error);
      expect(isMayflyError(loaded) || loaded).toSatisfy(
        (result: unknown) => result === true || (Array.isArray(result) && result[0].digest === digest),
      );
    }),
    { numRuns: 300 },
  );
});

test("any bytes are refused in our words", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
      await expect(load(Buffer.from(bytes))).rejects.toSatisfy(isMayflyError);
    }),
  );
});

test.each<[what: string, entry: TarEntry, word: string]>([
  ["climbs", { path: "../outside", content: "x" }, "leads out of it"],
  ["climbs in the middle", { path: "blobs/../../outside", content: "x" }, "leads out of it"],
  ["is absolute", { path: "/etc/cron.d/x", content: "x" }, "leads out of it"],
  ["climbs in a pax header", { path: `${"a/".repeat(80)}../x`, content: "x" }, "leads out of it"],
  ["is a link that climbs", { path: "x", type: "symlink", linkTarget: "../etc/passwd" }, "leads out of it"],
  ["is a link to an absolute path", { path: "x", type: "symlink", linkTarget: "/etc/passwd" }, "leads out of it"],
  ["is a hard link that climbs", { path: "x", type: "hardlink", linkTarget: "../x" }, "leads out of it"],
  ["has a name longer than any path", { path: "a".repeat(4097) }, "a name of more than 4096 bytes"],
  ["leads to one", { path: "x", type: "symlink", linkTarget: "a".repeat(4097) }, "a name of more than 4096 bytes"],
  ["is a device", { path: "x", type: "character", device: { major: 1, minor: 3 } }, 'type "3"'],
  ["is a pipe", { path: "x", type: "fifo" }, 'type "6"'],
  ["is a directory with content", { path: "x/", type: "directory", content: "x" }, "with content"],
  ["is there twice", { path: "./index.json", content: "{}" }, "two entries"],
  ["is a link of a name that is there", { path: "index.json", type: "symlink", linkTarget: "other" }, "two entries"],
])("an archive with an entry that %s is refused", async (_what, entry, word) => {
  await expect(load(tar([...ENTRIES, entry]))).rejects.toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining(word),
  });
});

test.each<[what: string, entries: readonly TarEntry[], word: string]>([
  ["a blob is not what its name says", but(blob(1), { content: "other" }), "has digest sha256:"],
  [
    "a blob is a link to another",
    but(blob(1), { type: "symlink", content: "", linkTarget: hexOf(IMAGE.blobs[2]?.digest ?? "sha256:") }),
    "what it calls",
  ],
  ["a blob is missing", ENTRIES.filter(({ path }) => path !== blob(2)), "is missing"],
  [
    "links lead in a circle",
    [
      ...but("index.json", { path: "x" }).filter(({ path }) => path !== "x"),
      { path: "index.json", type: "symlink", linkTarget: "b" },
      { path: "b", type: "symlink", linkTarget: "index.json" },
    ],
    "link to a link",
  ],
  ["index.json is no JSON", but("index.json", { content: "{" }), "index.json: not JSON"],
  [
    "index.json is of another shape",
    but("index.json", { content: '{"schemaVersion": 2, "manifests": [{}]}' }),
    "index.json: manifests.0",
  ],
  [
    "the layout is of another version",
    but("oci-layout", { content: '{"imageLayoutVersion": "2.0"}' }),
    "imageLayoutVersion",
  ],
])("an archive in which %s is refused", async (_what, entries, word) => {
  await expect(load(tar(entries))).rejects.toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining(word),
  });
});

test("an index.json of a hundred megabytes is refused and never read into memory", async () => {
  const entries = but("index.json", { content: Buffer.alloc(100 * 1024 * 1024, " ") });
  await expect(load(inChunks(tar(entries), 256 * 1024))).rejects.toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining("index.json: larger than 4194304 bytes"),
  });
});

/** The beginning, and then `block` for as long as anybody asks. */
async function* endless(block: Buffer, beginning: Buffer = Buffer.alloc(0)): AsyncGenerator<Buffer> {
  yield beginning;
  for (;;) yield block;
}

test.each<[what: string, archive: AsyncIterable<Uint8Array> | Buffer, word: string]>([
  ["files", endless(ARCHIVE.subarray(0, 1024)), "two entries"],
  ["directories", endless(tar([{ path: "a/" }]).subarray(0, 512)), "100 entries"],
  ["headers that only extend", endless(tar([{ path: "ü" }]).subarray(0, 1024)), "3 extensions of one entry"],
  ["content", endless(Buffer.alloc(64 * 1024, 1), formatHeader("blobs/x", 2 ** 40)), "1048576 bytes"],
  ["zeros after its end", endless(Buffer.alloc(64 * 1024), ARCHIVE), "1048576 bytes"],
  ["zeros in a gzip bomb", gzipSync(Buffer.concat([ARCHIVE, Buffer.alloc(64 * 1024 * 1024)])), "1048576 bytes"],
  ["zeros in a zstd bomb", zstdCompressSync(Buffer.concat([ARCHIVE, Buffer.alloc(64 * 1024 * 1024)])), "1048576 bytes"],
  [
    "gzip members of nothing",
    (async function* () {
      for (;;) yield Buffer.concat(Array(100).fill(gzipSync("")));
    })(),
    "1048576 bytes",
  ],
])("an archive of endless %s ends at its limit", async (_what, archive, word) => {
  await expect(load(archive, makeShelf(), { limits: LIMITS })).rejects.toMatchObject({
    message: expect.stringContaining(word),
  });
});

test("what is no archive of images is refused by what it lacks", async () => {
  await expect(load(tar([{ path: "hello", content: "hi" }]))).rejects.toMatchObject({
    reason: "image_unsupported",
    message: expect.stringContaining("oci-layout"),
  });
});

test("a load that is aborted while the archive says nothing ends at once, with the signal's reason", async () => {
  const controller = new AbortController();
  async function* silent() {
    yield ARCHIVE.subarray(0, 700);
    queueMicrotask(() => controller.abort(new Error("enough")));
    await new Promise<never>(() => {});
  }
  await expect(load(silent(), makeShelf(), { signal: controller.signal })).rejects.toThrow("enough");
});

test("a fault of the archive's source, and of the sink, is the caller's to see as it is", async () => {
  async function* broken() {
    yield ARCHIVE.subarray(0, 700);
    throw new Error("the line went dead");
  }
  await expect(load(broken())).rejects.toThrow("the line went dead");
  const full = { ...makeShelf(), put: () => Promise.reject(new Error("the shelf is full")) };
  await expect(load(ARCHIVE, full)).rejects.toThrow("the shelf is full");
});
