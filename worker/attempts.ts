// What is told of each attempt besides its log line: a span with its phases, and counts. The span continues the trace in the run's record,
// so that every attempt of a run, on whichever host, is in one trace; and the program in the container may continue it in turn.

import type { RunRecord } from "../core/record.ts";
import { PHASES, type Receipt } from "../core/run.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { nowMs, type Span } from "../telemetry/tracing.ts";
import type { Verdict } from "./outcome.ts";

export interface ObservedAttempt {
  /** As it was given, but for its trace: what happens in it continues the attempt's span. */
  readonly record: RunRecord;
  readonly ids: Span["ids"];
  /** `isRecorded`: the outcome is the run's. One of an attempt that was over already is counted nowhere. */
  end(verdict: Verdict, receipt: Receipt, isRecorded: boolean): void;
}

export type ObserveAttempt = (record: RunRecord) => ObservedAttempt;

/** To be called once for a process: it makes the metrics. */
export function attemptObserver({ tracing, metrics }: Telemetry): ObserveAttempt {
  const runs = metrics.counter("mayfly_runs_total", "Runs that this process has ended, by how.", ["outcome"]);
  const givenUp = metrics.counter("mayfly_attempts_given_up_total", "Attempts that this host did not bring to an end.");
  const phases = metrics.histogram("mayfly_run_phase_seconds", "Time that attempts spent in each phase.", ["phase"]);

  return (record) => {
    const { traceparent, tracestate } = record;
    const parent = traceparent === undefined ? undefined : { traceparent, tracestate };
    const startMs = nowMs();
    const attributes = attributesOf(record);
    // It has waited by Redis' clock, which need not be this host's.
    const waitedMs = (record.claimedAt ?? record.queuedAt) - record.queuedAt;
    const span = tracing.begin("run", parent, { kind: "consumer", startMs, attributes });
    const waiting = { startMs: startMs - waitedMs, attributes };
    (parent ? tracing.begin("queue", parent, waiting) : span.child("queue", waiting)).end(startMs);
    return {
      record: { ...record, ...span.context },
      ids: span.ids,
      end(verdict, receipt, isRecorded) {
        for (const phase of PHASES) {
          const ms = receipt.phases[phase];
          if (ms !== undefined) phases.observe({ phase }, ms / 1000);
        }
        if ("giveUp" in verdict) givenUp.add({});
        else if (isRecorded) runs.add({ outcome: verdict.outcome.kind });
        span.set({ "mayfly.host": receipt.host, "mayfly.driver": receipt.driver });
        endSpan(span, startMs, verdict, receipt);
      },
    };
  };
}

function attributesOf({ id, attempt, tenant, request }: RunRecord) {
  return {
    "mayfly.run.id": id,
    "mayfly.run.attempt": attempt,
    "mayfly.tenant": tenant,
    "container.image.name": request.image,
  };
}

/** The phases follow each other without a gap. What failed before the program ran failed in the phase that came last. */
function endSpan(span: Span, startMs: number, verdict: Verdict, { phases }: Receipt): void {
  const why = failureOf(verdict);
  const names = PHASES.filter((phase) => phase !== "queue" && phases[phase] !== undefined);
  const failed = phases.run === undefined ? names.at(-1) : undefined;
  let at = startMs;
  for (const name of names) {
    const phase = span.child(name, { startMs: at });
    at += phases[name] ?? 0;
    if (why && name === failed) phase.fail(why.type, why.message);
    phase.end(at);
  }
  if ("outcome" in verdict) {
    const { outcome } = verdict;
    span.set({ "mayfly.run.outcome": outcome.kind });
    if ("exitCode" in outcome) span.set({ "process.exit.code": outcome.exitCode });
  }
  if (why) span.fail(why.type, why.message);
  span.end();
}

/** A program that has ended by itself is a result, whatever its exit code; so is one that its caller cancelled. */
function failureOf(verdict: Verdict): { readonly type: string; readonly message?: string } | undefined {
  if ("giveUp" in verdict) return { type: "given_up", message: verdict.giveUp };
  const { outcome } = verdict;
  switch (outcome.kind) {
    case "exited":
    case "cancelled":
      return undefined;
    case "rejected":
      return { type: outcome.code, message: outcome.message };
    case "timed_out":
      return { type: outcome.kind, message: `the ${outcome.clock} clock was over (${outcome.limit})` };
    case "signaled":
      return { type: outcome.kind, message: outcome.signal };
    case "oom_killed":
      return { type: outcome.kind, message: `the limit was ${outcome.limit}` };
    case "lost":
      return { type: outcome.kind, message: outcome.message };
  }
}
