import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffMs, RETRIED, Retry } from "../../../core/retry.ts";
import type { Outcome } from "../../../core/run.ts";

const LOST: Outcome = { kind: "lost", message: "gone" };
const EXITED: Outcome = { kind: "exited", exitCode: 1 };

describe("the back-off", () => {
  test("grows by its factor up to its bound", () => {
    const retry: Retry = { attempts: 9, backoff: { initial: "1s", factor: 3, max: "20s", jitter: false } };
    const waits = [0, 1, 2, 3, 4].map((retried) => backoffMs(retry, { outcome: LOST, retried }));
    expect(waits).toEqual([1_000, 3_000, 9_000, 20_000, 20_000]);
  });

  test("is by default a second, then two, up to five minutes", () => {
    const waits = [0, 1, 18].map((retried) => backoffMs({ attempts: 20 }, { outcome: LOST, retried }, 1));
    expect(waits).toEqual([1_000, 2_000, 300_000]);
  });

  test("with jitter is between half of it and all of it", () => {
    const ms = fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 18 }), (random, retried) => {
      const whole = backoffMs({ attempts: 20, backoff: { jitter: false } }, { outcome: LOST, retried }) ?? 0;
      const some = backoffMs({ attempts: 20 }, { outcome: LOST, retried }, random) ?? -1;
      expect(some).toBeGreaterThanOrEqual(whole / 2);
      expect(some).toBeLessThanOrEqual(whole);
    });
    fc.assert(ms);
  });
});

test("there is no other attempt without a policy, after the last, after a good end, a cancellation or what is not named", () => {
  const all: Retry = { attempts: 2, on: [...RETRIED] };
  expect(backoffMs(undefined, { outcome: LOST, retried: 0 })).toBeUndefined();
  expect(backoffMs(all, { outcome: LOST, retried: 0 })).toBeDefined();
  expect(backoffMs(all, { outcome: LOST, retried: 1 })).toBeUndefined();
  expect(backoffMs(all, { outcome: { kind: "exited", exitCode: 0 }, retried: 0 })).toBeUndefined();
  expect(backoffMs(all, { outcome: { kind: "cancelled" }, retried: 0 })).toBeUndefined();
  expect(backoffMs({ attempts: 2, on: ["lost"] }, { outcome: EXITED, retried: 0 })).toBeUndefined();
  const rejected: Outcome = { kind: "rejected", code: "image_not_found", message: "" };
  expect(backoffMs({ attempts: 2 }, { outcome: rejected, retried: 0 })).toBeUndefined();
  expect(Retry.safeParse({ attempts: 2, backoff: { initial: "2s", max: "1s" } }).success).toBe(false);
});
