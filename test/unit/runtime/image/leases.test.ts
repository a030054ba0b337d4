import { expect, test } from "vitest";
import { Leases } from "../../../../runtime/image/leases.ts";
import { layerPiece } from "../../../../runtime/image/pieces.ts";

const IMAGE = `sha256:${"a".repeat(64)}` as const;
const LAYER = layerPiece(`sha256:${"b".repeat(64)}`);

test("what is held is held until the last holder lets go, and letting go twice counts once", () => {
  const leases = new Leases();
  const [first, second] = [leases.hold(IMAGE, [LAYER]), leases.hold(IMAGE, [LAYER])];
  first();
  first();
  expect([leases.holders(IMAGE), leases.holds(LAYER)]).toEqual([1, true]);
  second();
  expect([leases.holders(IMAGE), leases.holds(LAYER), leases.images()]).toEqual([0, false, []]);
});

test("what is held is not removed", async () => {
  const leases = new Leases();
  leases.hold(IMAGE, [LAYER]);
  const removed = await leases.remove(LAYER, async () => "removed");
  expect(removed).toBeUndefined();
});

test("a layer that two images have is held by either", () => {
  const leases = new Leases();
  const release = leases.hold(IMAGE, [LAYER]);
  leases.hold(`sha256:${"c".repeat(64)}`, [LAYER]);
  release();
  expect(leases.holds(LAYER)).toBe(true);
});

test("an image is one manifest, but its indexes may be several: each holder's own pieces are held", () => {
  const leases = new Leases();
  const other = layerPiece(`sha256:${"d".repeat(64)}`);
  const [first, second] = [leases.hold(IMAGE, [LAYER]), leases.hold(IMAGE, [LAYER, other])];
  expect([leases.holders(IMAGE), leases.holds(other)]).toEqual([2, true]);
  first();
  expect([leases.holds(LAYER), leases.holds(other)]).toEqual([true, true]);
  second();
  expect([leases.holds(LAYER), leases.holds(other)]).toEqual([false, false]);
});

test("who holds a piece that is being removed waits until it is gone", async () => {
  const leases = new Leases();
  const gone = Promise.withResolvers<string>();
  const removal = leases.remove(LAYER, () => gone.promise);
  leases.hold(IMAGE, [LAYER]);
  let isSettled = false;
  const settled = leases.settled([LAYER]).then(() => {
    isSettled = true;
  });
  await new Promise(setImmediate);
  expect(isSettled).toBe(false);
  gone.resolve("gone");
  expect(await removal).toBe("gone");
  await settled;
});

test("a removal that fails keeps nobody waiting, and may be tried again", async () => {
  const leases = new Leases();
  await expect(leases.remove(LAYER, () => Promise.reject(new Error("busy")))).rejects.toThrow("busy");
  await leases.settled([LAYER]);
  expect(await leases.remove(LAYER, async () => "removed")).toBe("removed");
});

test("a piece is removed once at a time", async () => {
  const leases = new Leases();
  const gone = Promise.withResolvers<string>();
  const first = leases.remove(LAYER, () => gone.promise);
  expect(await leases.remove(LAYER, async () => "again")).toBeUndefined();
  gone.resolve("gone");
  await first;
});
