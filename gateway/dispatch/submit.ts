// One run accepted: given to a host that offers room for it, or put where it waits, in one step; or refused, and nothing is written.

import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { MayflyError } from "../../core/errors.ts";
import { newRunId } from "../../core/ids.ts";
import { facetsOf } from "../../core/index-parts.ts";
import { keys, transitionKeys } from "../../core/keys.ts";
import { planRun } from "../../core/plan.ts";
import { retryField, webhookField } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { runTransition, transitions } from "../../core/transitions.ts";

export interface Submission {
  /** Made by who submits, if that is to be listened for before. */
  readonly id?: string;
  readonly tenant: string;
  readonly request: RunRequest;
  /** The gateway to be told when the run has finished, if it waits for that. */
  readonly waiter: string | undefined;
  /** Fields of the record by which its trace is continued: name, value, … */
  readonly trace?: readonly string[];
  /** The caller's own name for this call: the same call again makes no second run. */
  readonly idempotencyKey?: string | undefined;
  /** The name of the schedule whose tick this is. */
  readonly schedule?: string;
  /** The dead letter that this is another try of. */
  readonly retriedFrom?: string | undefined;
}

export interface SubmitLimits {
  readonly maxQueued: number;
  readonly maxKept: number;
  readonly maxStdinBytes: number;
}

/** How long an idempotency key is remembered, from the call that used it first. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

/**
 * Answers the run's id: of the one that was made now or, with an idempotency key that is remembered, then.
 * Throws `queue_full`, `quota_exceeded`, `no_host_large_enough`, `idempotency_conflict`, `body_too_large`.
 */
export async function submitRun(redis: Redis, limits: SubmitLimits, submission: Submission): Promise<string> {
  const { id = newRunId(), tenant, request, waiter, retriedFrom, trace = [] } = submission;
  const plan = planRun(request);
  const { pool, demand, size, priority, concurrency, timeouts } = plan;
  const { input, closed } = stdinOf(request, limits.maxStdinBytes);
  // The record keeps the request without its input and its files, which have keys of their own.
  const { stored, files } = withoutFiles(request.stdin === undefined ? request : { ...request, stdin: "" });
  const due = "afterMs" in plan.due ? `+${plan.due.afterMs}` : plan.due.atMs;
  const { name, body } = idempotency(submission);
  const args = [
    ...[id, tenant, pool, demand.cpus, demand.memoryBytes, demand.pids, size, priority],
    ...[concurrency?.key ?? "", concurrency?.max ?? 0, due, timeouts.queueMs, limits.maxQueued, limits.maxKept],
    ...[waiter ?? "", input, name, body, IDEMPOTENCY_MS, files],
    ...[
      "request",
      JSON.stringify(stored),
      "stdinClosed",
      closed ? "1" : "0",
      ...webhookField(request),
      ...scheduleField(submission),
      ...trace,
      ...retryField(request),
      ...(retriedFrom === undefined ? [] : ["retriedFrom", retriedFrom]),
    ],
  ];
  const names = transitionKeys.submit(id, pool, facetsOf(tenant, request));
  const answer = await runTransition(redis, transitions.submit, names, args);
  const [kind, what] = answer as ["accepted" | "known" | "conflict" | "full" | "quota" | "too large", string];
  switch (kind) {
    case "accepted":
    case "known":
      return what;
    case "conflict":
      throw new MayflyError("idempotency_conflict", "the idempotency key was used for another request", {
        details: { run: what },
      });
    case "full":
      throw new MayflyError("queue_full", `${limits.maxQueued} runs wait already`, {
        details: { limit: limits.maxQueued },
      });
    case "quota":
      throw new MayflyError("quota_exceeded", `the tenant's limit of ${what} does not allow it`, {
        details: { limit: what },
      });
    case "too large":
      throw new MayflyError("no_host_large_enough", `no host of the pool ${pool} could hold the run`, {
        details: { pool },
      });
  }
}

function withoutFiles(request: RunRequest): { stored: RunRequest; files: string } {
  const { files } = request;
  if (files === undefined || files.length === 0) return { stored: request, files: "" };
  return { stored: { ...request, files: [] }, files: JSON.stringify(files) };
}

const scheduleField = ({ schedule }: Submission) => (schedule === undefined ? [] : ["schedule", schedule]);

/** Neither the key nor the body is kept, only digests: a key may be long, and a body may be secret. Without a key both are empty. */
export function idempotency({ tenant, request, idempotencyKey: key }: Submission): { name: string; body: string } {
  if (key === undefined) return { name: "", body: "" };
  return { name: keys.idempotency(`${tenant}:${digest(key)}`), body: digest(JSON.stringify(request)) };
}

const digest = (text: string) => createHash("sha256").update(text).digest("base64url");

/** Nothing is an empty string: one Buffer among its arguments has a command put together in another, slower way. */
function stdinOf({ stdin }: RunRequest, maxBytes: number): { input: Buffer | string; closed: boolean } {
  if (stdin === undefined) return { input: "", closed: true };
  if (typeof stdin === "object" && "stream" in stdin) return { input: "", closed: false };
  const input = typeof stdin === "string" ? Buffer.from(stdin, "utf8") : Buffer.from(stdin.base64, "base64");
  if (input.length > maxBytes) {
    throw new MayflyError("body_too_large", `stdin has ${input.length} bytes, more than ${maxBytes}`, {
      details: { limit: maxBytes },
    });
  }
  return { input, closed: true };
}
