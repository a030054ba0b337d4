// What counts as a fault: an answer is judged by its substance.

import { describe, expect, it, test } from "vitest";
import { faultOfRefusal, faultOfRun } from "../../../loadtest/k6/judge.js";
import { KINDS } from "../../../loadtest/k6/kinds.js";

const PHASES = { queue: 2, pull: 0.1, prepare: 50, start: 6, run: 3, collect: 0.2 };
const TIMING = "queue;dur=2, pull;dur=0.1, prepare;dur=50, start;dur=6, run;dur=3, collect;dur=0.2";
const GOOD = {
  state: "finished",
  outcome: { kind: "exited", exitCode: 0 },
  stdout: { data: "token-7\n", truncated: false },
  receipt: { phases: PHASES },
};
const ending = KINDS.echo?.ends("token-7") ?? { outcome: { kind: "none" } };

function fault(run: object, { status = 200, timing = TIMING } = {}): string {
  return faultOfRun({ status, headers: { "Server-Timing": timing }, body: JSON.stringify(run) }, ending);
}

describe("a run", () => {
  it("that ended as it must has no fault", () => {
    expect(fault(GOOD)).toBe("");
  });

  test.each<[string, object, string]>([
    ["is not over", { ...GOOD, state: "running" }, "is answered 200 in state running"],
    ["has another exit code", { ...GOOD, outcome: { kind: "exited", exitCode: 1 } }, "exitCode is 1, not 0"],
    ["has ended in another way", { ...GOOD, outcome: { kind: "lost" } }, "kind is lost, not exited"],
    [
      "has printed another run's token",
      { ...GOOD, stdout: { data: "token-8\n", truncated: false } },
      "data is token-8",
    ],
    ["has no output", { ...GOOD, stdout: undefined }, "has printed something else"],
    ["has no receipt", { ...GOOD, receipt: undefined }, "without the phases queue, pull"],
    ["has a receipt that lacks a phase", { ...GOOD, receipt: { phases: { ...PHASES, run: undefined } } }, "phases run"],
  ])("that %s has one", (_, run, told) => {
    expect(fault(run)).toContain(told);
  });

  it("whose header and receipt differ has one", () => {
    expect(fault(GOOD, { timing: TIMING.replace("run;dur=3", "run;dur=4") })).toContain(
      "differs from its receipt: run",
    );
    expect(fault(GOOD, { timing: "" })).toContain("differs from its receipt: queue");
  });

  test.each([0, 202, 429, 500, 503])("that is answered %i has one", (status) => {
    expect(fault(GOOD, { status })).toContain(`is answered ${status}`);
  });

  it("that is answered with no JSON has one, and long ones are cut short", () => {
    expect(faultOfRun({ status: 200, headers: {}, body: "<html>" }, ending)).toBe("is answered 200 in state undefined");
    expect(faultOfRun({ status: 500, headers: {}, body: "x".repeat(5000) }, ending).length).toBeLessThan(400);
    expect(faultOfRun({ status: 0, headers: {}, body: null }, ending)).toBe("is answered 0: null");
  });
});

describe("a refusal", () => {
  const refusal = (status: number, headers: Record<string, string>, reason: string) =>
    faultOfRefusal({ status, headers, body: JSON.stringify({ reason }) });

  it("that says when to come back, and why, has no fault", () => {
    expect(refusal(429, { "Retry-After": "1" }, "queue_full")).toBe("");
    expect(refusal(429, { "retry-after": "30" }, "too_many_waiters")).toBe("");
  });

  it("of any other form has one", () => {
    expect(refusal(429, {}, "queue_full")).toContain("Retry-After");
    expect(refusal(429, { "Retry-After": "0" }, "queue_full")).toContain("Retry-After: 0");
    expect(refusal(429, { "Retry-After": "1" }, "invalid_field")).toContain("odd reason: invalid_field");
    expect(refusal(503, { "Retry-After": "1" }, "queue_full")).toContain("is answered 503");
  });
});
