import fc from "fast-check";
import { expect, test } from "vitest";
import { newIncarnation, newRunId, RUN_ID_PATTERN } from "../../../core/ids.ts";

/** Up to the year 10889, where 48 bits of milliseconds end. */
const moments = fc.integer({ min: 0, max: 2 ** 48 - 1 });

test("a run's id keeps to its pattern", () => {
  fc.assert(fc.property(moments, (ms) => void expect(newRunId(ms)).toMatch(RUN_ID_PATTERN)));
});

test("ids sort as text in the order of the moments they were made at", () => {
  fc.assert(
    fc.property(moments, moments, (a, b) => {
      fc.pre(a !== b);
      expect(newRunId(a) < newRunId(b)).toBe(a < b);
    }),
  );
});

test("ids that one process makes at one moment differ, and sort in their order", () => {
  const ids = Array.from({ length: 1000 }, () => newRunId(0));
  expect(new Set(ids).size).toBe(1000);
  expect(ids.toSorted()).toEqual(ids);
});

test.each([
  "run_",
  "run_01K3ZQ5W7H8M2N4P6R8T0V2X4Z",
  "run_01k3zq5w7h8m2n4p6r8t0v2x4i",
  "run_01k3zq5w7h8m2n4p6r8t0v2x4z\n",
  "x01k3zq5w7h8m2n4p6r8t0v2x4z",
])("%j is no run's id", (text) => {
  expect(text).not.toMatch(RUN_ID_PATTERN);
});

test("ids of different moments have nothing random in common", () => {
  const random = Array.from({ length: 1_000 }, (_, i) => newRunId(i).slice(-16));
  expect(new Set(random).size).toBe(random.length);
});

test("each life of a process has an id of its own", () => {
  expect(newIncarnation()).not.toBe(newIncarnation());
});
