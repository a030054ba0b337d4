// Any tree, written by GNU tar and by bsdtar in each of their formats, comes out of our unpacking as it was.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, type Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digestOf } from "../../runtime/content/digest.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { unpack } from "../../runtime/layer/unpacker.ts";
import { NEVER, UID_BASE, UNPACK_PROGRAM } from "../helpers/image-store.ts";
import { differences, walkTree } from "../helpers/tree-walk.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "mayfly-writers-"));
});
afterEach(() => rm(scratch, { recursive: true }));

/** What a format can say. */
interface Dialect {
  readonly xattrs?: boolean;
  readonly nanoseconds?: boolean;
  readonly before1970?: boolean;
  /** Names of any length and characters; otherwise short ones of ASCII. */
  readonly anyNames?: boolean;
  readonly fifos?: boolean;
}

const GNU: Dialect = { before1970: true, anyNames: true, fifos: true };
const PAX: Dialect = { ...GNU, xattrs: true, nanoseconds: true };

/** In the C locale it cuts long names of sparse files. In no format does it get times before 1970 right. */
const BSDTAR = ["env", "LC_ALL=C.UTF-8", "bsdtar"];

const WRITERS: readonly [string, readonly string[], Dialect][] = [
  ["GNU tar, gnu", ["tar", "--format=gnu", "--sparse"], GNU],
  ["GNU tar, oldgnu", ["tar", "--format=oldgnu", "--sparse"], GNU],
  ["GNU tar, pax, sparse 0.0", ["tar", "--format=pax", "--xattrs", "--sparse", "--sparse-version=0.0"], PAX],
  ["GNU tar, pax, sparse 0.1", ["tar", "--format=pax", "--xattrs", "--sparse", "--sparse-version=0.1"], PAX],
  ["GNU tar, pax, sparse 1.0", ["tar", "--format=pax", "--xattrs", "--sparse", "--sparse-version=1.0"], PAX],
  ["GNU tar, ustar", ["tar", "--format=ustar"], { fifos: true }],
  ["GNU tar, v7", ["tar", "--format=v7"], {}],
  ["bsdtar, pax", [...BSDTAR, "--format=pax", "--xattrs"], { ...PAX, before1970: false }],
  ["bsdtar, gnutar", [...BSDTAR, "--format=gnutar"], { ...GNU, before1970: false }],
  ["bsdtar, ustar", [...BSDTAR, "--format=ustar"], { fifos: true }],
  ["bsdtar, v7", [...BSDTAR, "--format=v7"], {}],
];

const id = fc.oneof(fc.constantFrom(0, 1000, 65_535), fc.nat({ max: 65_535 }));
const hex = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("hex"));

/** A name that is no whiteout, of at most 255 bytes. */
const anyName = fc
  .oneof(fc.string({ unit: "grapheme", minLength: 1 }), fc.constant("n".repeat(160)), fc.constant("né".repeat(85)))
  .map((name) => name.replaceAll(/[/\0]/g, "_"))
  .filter((name) => ![".", ".."].includes(name) && !name.startsWith(".wh.") && Buffer.byteLength(name) <= 255);
const shortName = fc.stringMatching(/^[a-z0-9 ]{1,6}$/).map((name) => `f${name}`);

function treeOf({ xattrs, nanoseconds, before1970, anyNames, fifos }: Dialect) {
  const seconds = fc.oneof(
    fc.constantFrom(0, 2 ** 31),
    fc.integer({ min: before1970 ? -(2 ** 31) + 2 : 0, max: 2 ** 33 - 1 }),
  );
  // The last second before 1970 is left out: of "-0.5", libarchive makes 0.5.
  const wholeSeconds = seconds.filter((second) => second !== -1);
  const fraction = nanoseconds ? fc.constantFrom(0, 1, 500_000_000, 999_999_999) : fc.constant(0);
  const node = fc.record({
    parent: fc.nat({ max: 20 }),
    name: anyNames ? anyName : shortName,
    type: fc.constantFrom("file", "file", "directory", "symlink", "hardlink", ...(fifos ? ["fifo"] : [])),
    mode: fc.nat({ max: 0o7777 }),
    uid: id,
    gid: id,
    modified: fc
      .tuple(wholeSeconds, fraction)
      .map(([whole, part]) => String(BigInt(whole) * 1_000_000_000n + BigInt(part))),
    content: hex(2000),
    holes: fc.array(fc.nat({ max: 300_000 }), { maxLength: 30, size: "max" }),
    link: anyNames ? fc.oneof(anyName, fc.constant("t".repeat(1000)), fc.constant("/nowhere")) : shortName,
    target: fc.nat({ max: 20 }),
    xattrs: xattrs ? fc.dictionary(fc.stringMatching(/^[a-z.]{1,9}$/), hex(40), { maxKeys: 3 }) : fc.constant({}),
  });
  return fc.array(node, { maxLength: 25, size: "max" });
}

async function build(tree: unknown, directory: string): Promise<void> {
  const child = startProcess(["python3", join(import.meta.dirname, "../helpers/tree-build.py"), directory], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  const ended = finished(child);
  await pipeline([JSON.stringify(tree)], child.stdin as Writable);
  expect(await ended).toMatchObject({ exitCode: 0, stderrTail: "" });
}

async function archiveAndUnpack(writer: readonly string[], from: string, to: string): Promise<void> {
  const [program = "tar", ...options] = writer;
  const child = startProcess([program, ...options, "-cf", "-", "-C", from, "."], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = finished(child);
  const tar = await buffer(child.stdout as Readable);
  expect(await ended).toMatchObject({ exitCode: 0 });
  const digest = digestOf(tar);
  const layer = { digest, diffId: digest, size: tar.length, compression: "none" } as const;
  await unpack(Readable.from([tar]), to, { program: UNPACK_PROGRAM, uidBase: UID_BASE, layer, signal: NEVER });
}

const RUNS = 6;
/** So that a failure is told with the smallest tree found by then, and not as a test that took too long. */
const MAX_SHRINKING_MS = 20_000;

test.each(WRITERS)("a tree that %s wrote comes out as it was", async (_writer, command, dialect) => {
  const [source, target] = [join(scratch, "source"), join(scratch, "target")];
  await fc.assert(
    fc.asyncProperty(treeOf(dialect), async (tree) => {
      for (const directory of [source, target]) {
        await rm(directory, { recursive: true, force: true });
        await mkdir(directory);
      }
      await build(tree, source);
      await archiveAndUnpack(command, source, target);
      expect(differences(await walkTree(target, UID_BASE), await walkTree(source))).toEqual([]);
    }),
    { numRuns: RUNS, interruptAfterTimeLimit: MAX_SHRINKING_MS },
  );
});
