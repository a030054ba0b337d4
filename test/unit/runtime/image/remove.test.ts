// The order in which an image goes, and what is left when the worker dies, or the disk fails, between two steps of it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type NamedImage, namedImages, type Stores } from "../../../../runtime/image/inventory.ts";
import { Leases } from "../../../../runtime/image/leases.ts";
import { contentPiece, layerPiece } from "../../../../runtime/image/pieces.ts";
import { Records } from "../../../../runtime/image/records.ts";
import { createRemover, nothingRemoved } from "../../../../runtime/image/remove.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}` as const;
const RECORD = {
  reference: "docker.io/library/a:1",
  digest: digest("1"),
  manifestDigest: digest("1"),
  configDigest: digest("2"),
  layers: [{ digest: digest("3"), diffId: digest("4"), size: 10 }],
  pulledAt: "2026-01-02T03:04:05.678Z",
  pinned: false,
};

let directory: string;
let records: Records;
let leases: Leases;
let happened: string[];
/** Replaced by a test that wants it to fail, or to look around. */
let onRemove: (what: string) => Promise<void>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-remove-"));
  records = new Records(directory);
  leases = new Leases();
  happened = [];
  onRemove = async () => {};
  await records.load();
  await records.set(RECORD);
});
afterEach(() => rm(directory, { recursive: true }));

function stores(): Stores {
  const remove = async (what: string) => {
    await onRemove(what);
    happened.push(what);
    return 0;
  };
  return {
    records,
    leases,
    content: { remove: (of: string) => remove(`content ${of[7]}`) },
    layers: { remove: (of: string) => remove(`layer ${of[7]}`) },
  } as unknown as Stores;
}

const sizes = () =>
  new Map([
    ...["1", "2", "3"].map((letter) => [contentPiece(digest(letter)), 1] as const),
    [layerPiece(digest("4")), 5],
  ]);

async function removeFirst(image: NamedImage | undefined = namedImages(stores())[0]) {
  const removed = nothingRemoved();
  if (image) await createRemover(stores(), undefined).image(image, sizes(), removed);
  return removed;
}

test("the name goes first, durably, before the first piece", async () => {
  onRemove = async () => {
    const next = new Records(directory);
    await next.load();
    expect(next.all()).toEqual([]);
  };
  expect(await removeFirst()).toEqual({ references: [RECORD.reference], layers: 1, blobs: 3, bytes: 8 });
  expect(happened.toSorted()).toEqual(["content 1", "content 2", "content 3", "layer 4"]);
});

test("a removal that fails in the middle leaves pieces without a name, and those are removed by the next collection", async () => {
  onRemove = (what) => (what.startsWith("layer") ? Promise.reject(new Error("busy")) : Promise.resolve());
  await expect(removeFirst()).rejects.toThrow("busy");
  expect(records.all()).toEqual([]);
  onRemove = async () => {};
  await createRemover(stores(), undefined).unneeded(sizes().keys(), sizes(), nothingRemoved());
  expect(happened).toContain("layer 4");
});

test("a run that comes between the name and the layer keeps the layer", async () => {
  onRemove = async (what) => {
    if (what === "content 1") leases.hold(RECORD.manifestDigest, [layerPiece(digest("4"))]);
  };
  await removeFirst();
  expect(happened).not.toContain("layer 4");
});

test("an image that was pinned, or pulled anew, since it was looked at stays", async () => {
  const [seen] = namedImages(stores());
  await records.set({ ...RECORD, pinned: true });
  expect(await removeFirst(seen)).toEqual(nothingRemoved());
  expect(records.all()).toHaveLength(1);
});
