import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseRetryAfter } from "../../../../gateway/webhooks/retry-after.ts";
import {
  DELAYS_MS,
  JITTER,
  judge,
  MAX_ATTEMPTS,
  MAX_RETRY_AFTER_MS,
  type Verdict,
} from "../../../../gateway/webhooks/schedule.ts";

const NOW = Date.UTC(2030, 0, 1);
const SECONDS = 1_000;
const HOURS = 3_600_000;

const judged = (
  status: number | undefined,
  more: { tries?: number; chance?: number; retryAfter?: string } = {},
): Verdict => {
  const { tries = 1, chance = 0.5, retryAfter } = more;
  return judge({ status, retryAfter }, { tries, maxTries: MAX_ATTEMPTS, chance, nowMs: NOW });
};

describe("the schedule", () => {
  test("each delay is longer than the one before", () => {
    expect(DELAYS_MS.toSorted((a, b) => a - b)).toEqual(DELAYS_MS);
    expect(new Set(DELAYS_MS).size).toBe(DELAYS_MS.length);
  });

  test("with the longest jitter and the slowest answers it ends before a run is forgotten", () => {
    const sum = DELAYS_MS.reduce((all, each) => all + each, 0);
    expect(sum).toBeGreaterThan(18 * HOURS);
    expect(sum * (1 + JITTER) + MAX_ATTEMPTS * 15 * SECONDS).toBeLessThan(24 * HOURS);
  });

  test("what fails comes back after its delay, a fifth sooner or later", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: DELAYS_MS.length }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (tries, chance) => {
          const verdict = judged(500, { tries, chance });
          const delay = DELAYS_MS[tries - 1] ?? 0;
          expect(verdict).toEqual({ state: "pending", delayMs: expect.any(Number) });
          if (verdict.state !== "pending") return;
          expect(verdict.delayMs).toBeGreaterThanOrEqual(Math.floor(delay * 0.8));
          expect(verdict.delayMs).toBeLessThanOrEqual(Math.ceil(delay * 1.2));
        },
      ),
    );
  });

  test("it ends with the last attempt, and where the operator says", () => {
    expect(judged(500, { tries: MAX_ATTEMPTS })).toEqual({ state: "failed" });
    expect(judge({ status: 500 }, { tries: 2, maxTries: 2, chance: 0, nowMs: NOW })).toEqual({ state: "failed" });
    expect(judge({}, { tries: 1, maxTries: 2, chance: 0.5, nowMs: NOW })).toEqual({ state: "pending", delayMs: 5_000 });
  });
});

describe("an answer", () => {
  test.each([200, 201, 204, 299])("of %d is delivered, also at the last attempt", (status) => {
    expect(judged(status, { tries: MAX_ATTEMPTS })).toEqual({ state: "delivered" });
  });

  test.each([undefined, 199, 301, 302, 307, 400, 404, 429, 500, 503])("of %s is tried again", (status) => {
    expect(judged(status)).toEqual({ state: "pending", delayMs: 5_000 });
  });

  test("of 410 ends it at once", () => {
    expect(judged(410)).toEqual({ state: "failed" });
  });

  test.each([429, 503])("of %d may put the next attempt off, within bounds, and never makes it sooner", (status) => {
    const delayOf = (retryAfter: string, tries = 1) => judged(status, { tries, retryAfter });
    expect(delayOf("60")).toEqual({ state: "pending", delayMs: 60_000 });
    expect(delayOf("Tue, 01 Jan 2030 00:02:00 GMT")).toEqual({ state: "pending", delayMs: 120_000 });
    expect(delayOf("1")).toEqual({ state: "pending", delayMs: 5_000 });
    expect(delayOf("999999999")).toEqual({ state: "pending", delayMs: MAX_RETRY_AFTER_MS });
    expect(delayOf("soon")).toEqual({ state: "pending", delayMs: 5_000 });
  });

  test("of another status has no say in that", () => {
    expect(judged(500, { retryAfter: "60" })).toEqual({ state: "pending", delayMs: 5_000 });
  });
});

test.each([
  ["0", 0],
  ["120", 120_000],
  ["Tue, 01 Jan 2030 00:00:30 GMT", 30_000],
  ["Mon, 31 Dec 2029 00:00:00 GMT", 0],
  ["", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["1e3", undefined],
  ["2030-01-01", undefined],
  ["Tue, 99 Foo", undefined],
])("Retry-After %j is %s ms", (text, ms) => {
  expect(parseRetryAfter(text, NOW)).toBe(ms);
});
