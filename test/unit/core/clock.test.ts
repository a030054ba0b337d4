import { expect, test, vi } from "vitest";
import { monotonicMs, Stopwatch, wallTime } from "../../../core/clock.ts";

test("phases are booked one after the other, a recurring one adds up, and one that is left open is not booked", () => {
  const now = vi.spyOn(performance, "now");
  const at = (ms: number) => now.mockReturnValue(ms);
  at(0);
  const watch = new Stopwatch();
  watch.enter("pull");
  at(10.0004);
  watch.enter("run");
  at(15);
  watch.enter("pull");
  at(20);
  watch.stop();
  at(99);
  watch.stop();
  expect(watch.phases).toEqual({ pull: 15, run: 5 });
  now.mockRestore();
});

test("the monotonic clock does not go back", () => {
  const before = monotonicMs();
  expect(monotonicMs()).toBeGreaterThanOrEqual(before);
});

test("a moment is written in UTC with milliseconds", () => {
  expect(wallTime(0)).toBe("1970-01-01T00:00:00.000Z");
});
