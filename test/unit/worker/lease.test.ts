import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { monotonicMs } from "../../../core/clock.ts";
import { LEASE_MS } from "../../../core/offer.ts";
import { FENCE_MARGIN_MS, RENEW_MS } from "../../../core/transitions.ts";
import { Ending } from "../../../worker/ending.ts";
import { Lease, type LeaseOptions } from "../../../worker/lease.ts";

const FULL_MS = LEASE_MS - FENCE_MARGIN_MS;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function makeLease(renew: LeaseOptions["renew"], takenAtMs = monotonicMs()) {
  const ending = new Ending();
  return { lease: new Lease({ takenAtMs, renew, ending }), ending };
}

test("a hold that another has is lost, and the attempt ends", async () => {
  const { lease, ending } = makeLease(async () => "lost");
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  expect(ending.reason).toEqual({ kind: "lease_lost" });
  lease.stop();
});

test("a hold that is over before anything is done is lost at once", () => {
  const { lease, ending } = makeLease(async () => "held", monotonicMs() - FULL_MS);
  expect(ending.reason).toEqual({ kind: "lease_lost" });
  lease.stop();
});

test("a hold that cannot be renewed is let go before it could pass to another, and is not extended meanwhile", async () => {
  const { lease, ending } = makeLease(() => Promise.reject(new Error("Redis is away")));
  const extend = vi.fn();
  lease.guard(extend);
  await vi.advanceTimersByTimeAsync(LEASE_MS);
  expect(ending.reason).toEqual({ kind: "lease_lost" });
  expect(extend).toHaveBeenCalledTimes(1);
  lease.stop();
});

test("a Redis that never answers is asked one question at a time, and the hold is let go", async () => {
  const renew = vi.fn(() => new Promise<never>(() => {}));
  const { lease, ending } = makeLease(renew);
  await vi.advanceTimersByTimeAsync(LEASE_MS);
  expect(renew).toHaveBeenCalledTimes(1);
  expect(ending.reason).toEqual({ kind: "lease_lost" });
  lease.stop();
});

test("one renewal that fails is made good by the next", async () => {
  const renew = vi.fn<LeaseOptions["renew"]>().mockRejectedValueOnce(new Error("away")).mockResolvedValue("held");
  const { lease, ending } = makeLease(renew);
  await vi.advanceTimersByTimeAsync(5 * LEASE_MS);
  expect(ending.reason).toBeUndefined();
  lease.stop();
});

test("a renewal says that the run is to be cancelled", async () => {
  const { lease, ending } = makeLease(async () => "cancel");
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  expect(ending.reason).toEqual({ kind: "cancelled" });
  lease.stop();
});

test("a renewal says that the run is to be cancelled without its grace", async () => {
  const { lease, ending } = makeLease(async () => "force-cancel");
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  expect([ending.reason, ending.hurried.aborted]).toEqual([{ kind: "cancelled" }, true]);
  lease.stop();
});

test("a run that is to be cancelled is still held: its grace may be longer than a lease", async () => {
  const { lease } = makeLease(async () => "cancel");
  const extend = vi.fn();
  lease.guard(extend);
  await vi.advanceTimersByTimeAsync(3 * RENEW_MS);
  expect(extend).toHaveBeenCalledTimes(4);
  lease.stop();
});

test("the sandbox's deadline counts from when the question was sent, not from when the answer came", async () => {
  const answers: (() => void)[] = [];
  const { lease } = makeLease(() => new Promise((resolve) => answers.push(() => resolve("held"))));
  const extend = vi.fn();
  lease.guard(extend);
  expect(extend).toHaveBeenLastCalledWith(FULL_MS);
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  await vi.advanceTimersByTimeAsync(1_000);
  answers[0]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(extend).toHaveBeenLastCalledWith(FULL_MS - 1_000);
  lease.stop();
});

test("what was spent before the sandbox was made is not given to it again", async () => {
  const { lease } = makeLease(() => new Promise(() => {}), monotonicMs() - 500);
  expect(lease.remainingMs).toBe(FULL_MS - 500);
  lease.stop();
});

test("a lease that is stopped asks nothing more", async () => {
  const renew = vi.fn<LeaseOptions["renew"]>().mockResolvedValue("held");
  const { lease } = makeLease(renew);
  lease.stop();
  await vi.advanceTimersByTimeAsync(LEASE_MS);
  expect(renew).not.toHaveBeenCalled();
});
