import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Ending } from "../../../worker/ending.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the first reason wins", () => {
  const ending = new Ending();
  ending.because({ kind: "cancelled" });
  ending.because({ kind: "lease_lost" });
  expect(ending.reason).toEqual({ kind: "cancelled" });
  expect(ending.signal.reason).toEqual({ kind: "cancelled" });
});

test("a reason that comes after the program's own end does not count", () => {
  const ending = new Ending();
  ending.settle();
  ending.because({ kind: "cancelled" });
  expect([ending.reason, ending.signal.aborted]).toEqual([undefined, false]);
});

test("without a reason nothing is aborted", () => {
  const ending = new Ending();
  expect([ending.reason, ending.signal.aborted]).toEqual([undefined, false]);
});

test("a clock that passes is a reason, with its name and its limit", () => {
  const ending = new Ending();
  ending.after("run", 1_000);
  vi.advanceTimersByTime(999);
  expect(ending.reason).toBeUndefined();
  vi.advanceTimersByTime(1);
  expect(ending.reason).toEqual({ kind: "timed_out", clock: "run", limitMs: 1_000 });
});

test("a clock that is stopped never passes", () => {
  const ending = new Ending();
  const stop = ending.after("start", 1_000);
  stop();
  stop();
  vi.runAllTimers();
  expect(ending.reason).toBeUndefined();
});

test("the longest clock that a request may ask for does not pass at once", () => {
  const ending = new Ending();
  ending.after("run", 7 * 86_400_000);
  vi.advanceTimersByTime(1_000);
  expect(ending.reason).toBeUndefined();
});
