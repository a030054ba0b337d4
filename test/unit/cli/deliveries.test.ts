import { expect, it } from "vitest";
import { linesOf } from "../../../cli/commands/deliveries.ts";
import type { Deliveries } from "../../../core/webhook.ts";

const told = (more: Partial<Deliveries>): Deliveries => ({
  ...{ id: "run_1-finished", url: "https://example.com/", state: "waiting", attempts: [] },
  ...more,
});

it("shows the state alone before there was an attempt", () => {
  expect(linesOf("run_1", told({}))).toEqual(["run_1: waiting"]);
});

it("shows each attempt with its answer, or why there was none, and when the next is due", () => {
  const at = "2030-01-01T00:00:00.000Z";
  const lines = linesOf(
    "run_1",
    told({
      state: "pending",
      nextAttemptAt: "2030-01-01T00:02:00.000Z",
      attempts: [
        { attempt: 1, at },
        { attempt: 2, at, ms: 12.345, status: 503 },
        { attempt: 3, at, ms: 15_000, fault: "timed_out" },
      ],
    }),
  );
  expect(lines).toEqual([
    "run_1: pending, next attempt not before 2030-01-01T00:02:00.000Z",
    "ATTEMPT  AT                        TOOK     ANSWER",
    `1        ${at}  -        none yet`,
    `2        ${at}  12ms     503`,
    `3        ${at}  15000ms  The answer took too long.`,
  ]);
});
