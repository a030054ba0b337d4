// From facts to an outcome: why it was ended, how the kernel says it ended, what the cgroup counted.

import { toMayflyError } from "../core/errors.ts";
import type { RunPlan } from "../core/plan.ts";
import type { Clock, Outcome } from "../core/run.ts";
import { formatDuration, formatSize } from "../core/units.ts";
import type { SandboxEnd } from "../runtime/index.ts";
import type { EndReason } from "./ending.ts";

/** What to do with the attempt: record this outcome, or give the run up for another host or attempt. */
export type Verdict = { readonly outcome: Outcome } | { readonly giveUp: string };

/** The program has ended. A reason from outside came first if there is one; after that the facts stand. */
export function judgeEnd(end: SandboxEnd, reason: EndReason | undefined, plan: RunPlan): Verdict {
  if (reason) return judgeReason(reason);
  // A program may survive the OOM kill of a child; if it says that all is well, it is. Otherwise the kill is why not.
  const { process } = end;
  const hasFailed = process.kind === "signaled" || process.exitCode !== 0;
  if (hasFailed && (end.usage?.oomKills ?? 0) > 0) {
    const survived = process.kind === "exited" ? { exitCode: process.exitCode } : {};
    return { outcome: { kind: "oom_killed", limit: formatSize(plan.limits.memoryBytes), ...survived } };
  }
  return { outcome: end.process };
}

/** The program could not be brought to its end: it was never started, or its sandbox was lost. */
export function judgeError(thrown: unknown, reason: EndReason | undefined): Verdict {
  if (reason) return judgeReason(reason);
  const error = toMayflyError(thrown);
  // A fault of this host's is not the run's: another host, or another attempt, may do better. How often is bounded.
  if (error.reason === "host_unavailable" || error.code === "internal") return { giveUp: error.message };
  return { outcome: { kind: "rejected", code: error.reason, message: error.message } };
}

function judgeReason(reason: EndReason): Verdict {
  switch (reason.kind) {
    case "cancelled":
      return { outcome: { kind: "cancelled" } };
    case "timed_out":
      return { outcome: timedOut(reason.clock, reason.limitMs) };
    case "lease_lost":
      return { giveUp: "its hold was not renewed in time" };
    case "drained":
      return { giveUp: "its worker was stopped" };
  }
}

function timedOut(clock: Clock, limitMs: number): Outcome {
  return { kind: "timed_out", clock, limit: formatDuration(limitMs) };
}
