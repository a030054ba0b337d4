import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { digestOf, hexOf } from "../../../../runtime/content/digest.ts";
import { contentPiece, layerPiece } from "../../../../runtime/image/pieces.ts";
import { type ImageRecord, Records } from "../../../../runtime/image/records.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}` as const;
const RECORD: ImageRecord = {
  reference: "docker.io/library/a:1",
  digest: digest("1"),
  manifestDigest: digest("2"),
  configDigest: digest("3"),
  layers: [{ digest: digest("4"), diffId: digest("5"), size: 7 }],
  pulledAt: "2026-01-02T03:04:05.678Z",
  pinned: false,
};

let directory: string;

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), "mayfly-records-")), "images");
});
afterEach(() => rm(join(directory, ".."), { recursive: true }));

async function life(): Promise<Records> {
  const records = new Records(directory);
  await records.load();
  return records;
}
const onlyFile = async () => join(directory, (await readdir(directory))[0] ?? "");

test("what is recorded is known to the next life, and what was dropped is not", async () => {
  const records = await life();
  const other = { ...RECORD, reference: "docker.io/library/b:1", pinned: true };
  await records.set(RECORD);
  await records.set(other);
  expect((await life()).all().toSorted((a, b) => a.reference.localeCompare(b.reference))).toEqual([RECORD, other]);
  await records.drop(RECORD.reference);
  expect((await life()).all()).toEqual([other]);
});

test("a host that has never pulled knows no image", async () => {
  expect((await life()).all()).toEqual([]);
});

test.each([
  ["is cut off", (text: string) => text.slice(0, 50)],
  ["is empty", () => ""],
  ["lacks a field", (text: string) => text.replace('"digest"', '"digset"')],
  ["names something that is no digest", (text: string) => text.replace("sha256:1", "sha256:../1")],
  ["is of another reference than its name says", (text: string) => text.replace("library/a", "library/b")],
])("a record that %s counts as absent", async (_, spoil) => {
  await (await life()).set(RECORD);
  await writeFile(await onlyFile(), spoil(JSON.stringify(RECORD)));
  expect((await life()).all()).toEqual([]);
});

test("of set and drop in a hurry, the last one holds, on disk as in memory", async () => {
  const records = await life();
  await Promise.all([records.set(RECORD), records.drop(RECORD.reference), records.set({ ...RECORD, pinned: true })]);
  expect((await life()).all()).toEqual([{ ...RECORD, pinned: true }]);
  await Promise.all([records.set(RECORD), records.drop(RECORD.reference)]);
  expect((await life()).all()).toEqual([]);
});

test("a record that cannot be written changes nothing", async () => {
  const records = await life();
  await writeFile(directory, "in the way");
  await expect(records.set(RECORD)).rejects.toThrow();
  expect(records.all()).toEqual([]);
  expect(records.need(contentPiece(digest("1")))).toBe(false);
  await rm(directory);
  await records.set(RECORD); // And one failure does not keep later ones from being written.
  expect((await life()).all()).toEqual([RECORD]);
});

test("a piece is needed as long as a record has it", async () => {
  const records = await life();
  const other = { ...RECORD, reference: "docker.io/library/b:1", layers: [] };
  await records.set(RECORD);
  await records.set(other);
  const pieces = [contentPiece(digest("1")), contentPiece(digest("4")), layerPiece(digest("5"))];
  const needed = () => pieces.map((piece) => records.need(piece));
  expect(needed()).toEqual([true, true, true]);
  await records.drop(RECORD.reference);
  expect(needed()).toEqual([true, false, false]);
  await records.drop(other.reference);
  expect(needed()).toEqual([false, false, false]);
});

test("when an image was used is known to the next life, to the minute, and survives a change of the record", async () => {
  await (await life()).set(RECORD);
  await utimes(await onlyFile(), 1_000, 1_000);
  const records = await life();
  expect(records.lastUsedMs(RECORD.reference)).toBe(1_000_000);
  await records.set({ ...RECORD, pinned: true });
  expect((await stat(await onlyFile())).mtimeMs).toBe(1_000_000);
  const before = Date.now();
  (await life()).touch(RECORD.reference);
  await expect.poll(async () => (await stat(await onlyFile())).mtimeMs).toBeGreaterThanOrEqual(before - 1);
});

test("a clock that was ahead makes no image look used for ever", async () => {
  await (await life()).set(RECORD);
  const inAYear = Date.now() / 1_000 + 31_536_000;
  await utimes(await onlyFile(), inAYear, inAYear);
  const records = await life();
  expect(records.lastUsedMs(RECORD.reference)).toBeLessThanOrEqual(Date.now());
  records.touch(RECORD.reference);
  await expect.poll(async () => (await stat(await onlyFile())).mtimeMs).toBeLessThanOrEqual(Date.now());
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    vi.setSystemTime(inAYear * 1_000);
    records.touch(RECORD.reference);
    vi.setSystemTime((inAYear - 1_000) * 1_000);
    expect(records.lastUsedMs(RECORD.reference)).toBe(Date.now());
    vi.setSystemTime(inAYear * 1_000);
    expect(records.lastUsedMs(RECORD.reference)).toBe((inAYear - 1_000) * 1_000);
  } finally {
    vi.useRealTimers();
  }
});

test("names have a maximum: the one used longest ago goes, unless it is pinned, and is not known to the next life", async () => {
  const named = (name: string, pinned = false) => ({ ...RECORD, reference: `docker.io/library/${name}:1`, pinned });
  const before = await life();
  for (const record of [named("pinned", true), named("old"), named("new")]) await before.set(record);
  for (const [name, seconds] of [
    ["pinned", 1_000],
    ["old", 2_000],
    ["new", 3_000],
  ] as const) {
    const path = join(directory, `${hexOf(digestOf(Buffer.from(named(name).reference)))}.json`);
    await utimes(path, seconds, seconds);
  }
  const records = new Records(directory, 3);
  await records.load();
  await records.set(named("newest"));
  await records.set(named("newest")); // It is no further name.
  const expected = ["new", "newest", "pinned"].map((name) => named(name).reference);
  const namesOf = (known: Records) =>
    known
      .all()
      .map(({ reference }) => reference)
      .toSorted();
  expect(namesOf(records)).toEqual(expected);
  expect(namesOf(await life())).toEqual(expected);
});

test("uses within a minute are written once", async () => {
  const records = await life();
  await records.set(RECORD);
  const path = await onlyFile();
  await utimes(path, 1_000, 1_000);
  for (let use = 0; use < 100; use++) records.touch(RECORD.reference);
  await records.set({ ...RECORD, reference: "docker.io/library/other:1" }); // Any write of a touch would have come before.
  expect((await stat(path)).mtimeMs).toBe(1_000_000);
  expect(records.lastUsedMs(RECORD.reference)).toBeGreaterThan(1_000_000);
});
