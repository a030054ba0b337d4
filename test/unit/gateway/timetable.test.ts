// The next ticks of a schedule, above all where clocks change. In Europe/Berlin they are put forward on 2026-03-29 from 02:00 to 03:00, and
// back on 2026-10-25 from 03:00 to 02:00; in America/New_York forward on 2026-03-08, back on 2026-11-01.

import { expect, test } from "vitest";
import { isMayflyError } from "../../../core/errors.ts";
import { nextTick } from "../../../gateway/dispatch/timetable.ts";

/** So many ticks from a moment on, in UTC. */
function ticks(cron: string, timezone: string, from: string, count: number): string[] {
  const found: string[] = [];
  for (let at = Date.parse(from); found.length < count; ) {
    at = nextTick(cron, timezone, at);
    found.push(new Date(at).toISOString().slice(0, 16));
  }
  return found;
}

test.each([
  ["*/15 * * * *", "UTC", "2026-01-01T00:07:00Z", ["2026-01-01T00:15", "2026-01-01T00:30", "2026-01-01T00:45"]],
  ["30 2 * * 1-5", "UTC", "2026-01-02T03:00:00Z", ["2026-01-05T02:30", "2026-01-06T02:30"]],
  ["0 9 1 * *", "Asia/Kolkata", "2026-01-01T03:30:00Z", ["2026-02-01T03:30", "2026-03-01T03:30"]],
  ["0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["2028-02-29T00:00"]],
])("%s in %s after %s", (cron, timezone, from, expected) => {
  expect(ticks(cron, timezone, from, expected.length)).toEqual(expected);
});

test("a fixed hour stays that hour of the wall's clock, on both sides of a change", () => {
  expect(ticks("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3)).toEqual([
    "2026-03-28T08:00",
    "2026-03-29T07:00",
    "2026-03-30T07:00",
  ]);
});

test("a tick in the hour that is left out comes once, an hour later by the wall's clock, and no day is without one", () => {
  expect(ticks("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3)).toEqual([
    "2026-03-28T01:30",
    "2026-03-29T01:30",
    "2026-03-30T00:30",
  ]);
  expect(ticks("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2)).toEqual([
    "2026-03-08T07:30",
    "2026-03-09T06:30",
  ]);
});

test("a tick in the hour that comes twice comes once", () => {
  const days = ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3).map((tick) => tick.slice(0, 10));
  expect(days).toEqual(["2026-10-25", "2026-10-26", "2026-10-27"]);
});

test("what comes each quarter of an hour goes on doing so through both changes", () => {
  for (const from of ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"]) {
    let at = Date.parse(from);
    for (let i = 0; i < 16; i++) {
      const next = nextTick("*/15 * * * *", "Europe/Berlin", at);
      expect(next - at).toBe(15 * 60_000);
      at = next;
    }
  }
});

test.each(["61 * * * *", "* * 31 2 *", "a b c d e", "5-1 * * * *"])("%s is refused, and named", (cron) => {
  const attempt = () => nextTick(cron, "UTC", Date.parse("2026-01-01T00:00:00Z"));
  expect(attempt).toThrow(/cron/);
  try {
    attempt();
  } catch (error) {
    expect(isMayflyError(error) && [error.reason, error.details.field]).toEqual(["invalid_field", "cron"]);
  }
});
