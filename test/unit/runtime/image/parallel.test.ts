import { expect, test } from "vitest";
import { mapBounded } from "../../../../runtime/image/parallel.ts";

const NEVER = new AbortController().signal;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("results keep the list's order, and no more than the limit are at work", async () => {
  let working = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++working);
    for (let wait = 10 - item; wait > 0; wait--) await turn();
    working--;
    return item * 2;
  };
  expect(await mapBounded([1, 2, 3, 4, 5, 6, 7], work, { limit: 3, signal: NEVER })).toEqual([2, 4, 6, 8, 10, 12, 14]);
  expect(most).toBe(3);
});

test("the first error aborts the others, and is told only when they have settled", async () => {
  const settled: number[] = [];
  const work = async (item: number, signal: AbortSignal) => {
    if (item === 1) throw new Error("first");
    while (!signal.aborted) await turn();
    await turn();
    settled.push(item);
    throw new Error("second");
  };
  await expect(mapBounded([0, 1, 2], work, { limit: 2, signal: NEVER })).rejects.toThrow("first");
  expect(settled).toEqual([0]);
});

test("an aborted signal rejects with its reason", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(mapBounded([1], async () => 1, { limit: 1, signal })).rejects.toThrow("enough");
  await expect(mapBounded([], async () => 1, { limit: 1, signal })).rejects.toThrow("enough");
});

test("an empty list has no results", async () => {
  expect(await mapBounded([], async () => 1, { limit: 3, signal: NEVER })).toEqual([]);
});
