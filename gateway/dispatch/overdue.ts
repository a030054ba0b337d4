// What becomes of runs whose state has lasted too long: read from their records, told in outcomes.

import { planRun } from "../../core/plan.ts";
import { parseRecord, type RunRecord } from "../../core/record.ts";
import { backoffMs } from "../../core/retry.ts";
import type { Outcome } from "../../core/run.ts";
import { formatDuration } from "../../core/units.ts";

/** A record that this version cannot read is settled all the same, without another attempt: nothing stays for ever. */
export function readable(hash: Record<string, string>): RunRecord | undefined {
  try {
    return parseRecord(hash);
  } catch {
    return undefined;
  }
}

export function overdueOutcomes(record: RunRecord | undefined): string[] {
  const queueMs = record ? planRun(record.request).timeouts.queueMs : 0;
  const outcomes: Outcome[] = [
    { kind: "timed_out", clock: "queue", limit: formatDuration(queueMs) },
    lostOutcome(record),
    { kind: "cancelled" },
  ];
  return outcomes.map((outcome) => JSON.stringify(outcome));
}

/** How long it waits before it is tried again, should it be lost for good, as its policy has it; "" if not at all. */
export function overdueBackoff(record: RunRecord | undefined): number | "" {
  if (!record) return "";
  return backoffMs(record.request.retry, { outcome: lostOutcome(record), retried: record.retried }) ?? "";
}

/** A program that was never started was not lost: the hosts that tried say why they could not start it. */
function lostOutcome(record: RunRecord | undefined): Outcome {
  const why = record?.givenUp ?? "its hold was not renewed";
  if (record?.state === "starting" && record.givenUp)
    return { kind: "rejected", code: "host_unavailable", message: why };
  return { kind: "lost", message: `attempt ${record?.attempt ?? 0} on host ${record?.host ?? "unknown"}: ${why}` };
}
