import { describe, expect, test } from "vitest";
import { type ErrorReason, MayflyError, REASONS } from "../../../core/errors.ts";
import { planRun } from "../../../core/plan.ts";
import { Outcome } from "../../../core/run.ts";
import type { SandboxEnd } from "../../../runtime/index.ts";
import type { EndReason } from "../../../worker/ending.ts";
import { judgeEnd, judgeError } from "../../../worker/outcome.ts";

const plan = planRun({ image: "busybox", limits: { memory: "64MiB" } });

const end = (process: SandboxEnd["process"], oomKills?: number): SandboxEnd => ({
  process,
  usage: oomKills === undefined ? undefined : { cpuMs: 1, throttledMs: 0, peakMemoryBytes: 1, oomKills },
});
const exited = (exitCode: number) => ({ kind: "exited", exitCode }) as const;
const killed = { kind: "signaled", signal: "SIGKILL" } as const;

const REASONED: [EndReason, object][] = [
  [{ kind: "cancelled" }, { outcome: { kind: "cancelled" } }],
  [
    { kind: "timed_out", clock: "run", limitMs: 90_000 },
    { outcome: { kind: "timed_out", clock: "run", limit: "1m30s" } },
  ],
  [
    { kind: "timed_out", clock: "start", limitMs: 1_000 },
    { outcome: { kind: "timed_out", clock: "start", limit: "1s" } },
  ],
  [{ kind: "lease_lost" }, { giveUp: expect.stringContaining("renewed") }],
  [{ kind: "drained" }, { giveUp: expect.stringContaining("stopped") }],
];

describe("a reason from outside that came first is the outcome", () => {
  test.each(REASONED)("%j, however the program then ended", (reason, verdict) => {
    expect(judgeEnd(end(exited(0), 0), reason, plan)).toEqual(verdict);
    expect(judgeEnd(end(killed, 1), reason, plan)).toEqual(verdict);
  });

  test.each(REASONED)("%j, whatever error it then brought about", (reason, verdict) => {
    expect(judgeError(new MayflyError("host_unavailable", "killed"), reason)).toEqual(verdict);
    expect(judgeError(reason, reason)).toEqual(verdict);
  });
});

describe("without a reason from outside, the kernel's facts are the outcome", () => {
  test.each<[string, SandboxEnd, object]>([
    ["an exit code is told as it is", end(exited(0), 0), exited(0)],
    ["a failure is a result too", end(exited(1), 0), exited(1)],
    ["137 that a program chose itself is an exit code", end(exited(137), 0), exited(137)],
    [
      "a signal is told by its name",
      end({ kind: "signaled", signal: "SIGSEGV" }, 0),
      { kind: "signaled", signal: "SIGSEGV" },
    ],
    ["SIGKILL without an OOM kill is a signal", end(killed, 0), killed],
    ["SIGKILL and counters that could not be read are a signal: an OOM is not guessed", end(killed), killed],
    ["SIGKILL with an OOM kill is the memory limit", end(killed, 1), { kind: "oom_killed", limit: "64MiB" }],
    [
      "a failure with an OOM kill is the memory limit: a child was it",
      end(exited(1), 2),
      { kind: "oom_killed", limit: "64MiB", exitCode: 1 },
    ],
    ["success in spite of a child's OOM kill is success", end(exited(0), 1), exited(0)],
  ])("%s", (_, facts, outcome) => {
    expect(judgeEnd(facts, undefined, plan)).toEqual({ outcome });
    expect(Outcome.safeParse(outcome).success).toBe(true);
  });
});

describe("a program that could not be started", () => {
  const givenUp: ErrorReason[] = ["host_unavailable", "bug"];

  test.each(givenUp)("for %s is given up, for another host to try", (reason) => {
    expect(judgeError(new MayflyError(reason, "why"), undefined)).toEqual({ giveUp: "why" });
  });

  test.each((Object.keys(REASONS) as ErrorReason[]).filter((reason) => !givenUp.includes(reason)))(
    "for %s is rejected with that reason",
    (reason) => {
      const verdict = judgeError(new MayflyError(reason, "why"), undefined);
      expect(verdict).toEqual({ outcome: { kind: "rejected", code: reason, message: "why" } });
      expect(Outcome.safeParse((verdict as { outcome: unknown }).outcome).success).toBe(true);
    },
  );

  test("for a fault of ours is given up with its message", () => {
    expect(judgeError(new TypeError("x is undefined"), undefined)).toEqual({ giveUp: "x is undefined" });
  });
});
