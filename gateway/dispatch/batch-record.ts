// The hash of a batch, as its caller sees it.

import type { Batch, BatchState, OnFailure } from "../../core/batch.ts";
import { wallTime } from "../../core/clock.ts";
import type { RunRequest } from "../../core/request.ts";

/** A batch, and what of it is not told. */
export interface StoredBatch {
  readonly batch: Batch;
  readonly tenant: string;
  /** Whether it has begun to be filled with inputs of a template, and with which. */
  readonly template: RunRequest | undefined;
  readonly stdin: boolean;
  readonly webhookUrl: string | undefined;
  /** Items from here on were never begun, but for those that have an end. */
  readonly unfedFrom: number | undefined;
  readonly isOver: boolean;
}

type Hash = ReadonlyMap<string, string>;

/** What is read of the hash. */
export const BATCH_FIELDS = [
  ...[
    "id",
    "tenant",
    "name",
    "labels",
    "state",
    "createdAt",
    "finishedAt",
    "lines",
    "total",
    "active",
    "closed",
    "paused",
  ],
  ...["stopping", "succeeded", "failed", "cancelled", "malformed", "maxFailures", "concurrency", "lastAt", "lastDone"],
  ...["source", "stdin", "webhookUrl", "unfedFrom"],
];

/** The answer of the script `read`. Undefined if there is no such batch. */
export function parseBatch([nowMs, waiting, live, done, values]: [number, number, number, number, (string | null)[]]):
  | StoredBatch
  | undefined {
  const hash = new Map<string, string>();
  for (const [i, field] of BATCH_FIELDS.entries()) {
    const value = values[i];
    if (typeof value === "string") hash.set(field, value);
  }
  const tenant = hash.get("tenant");
  if (tenant === undefined) return undefined;
  const source = hash.get("source");
  const unfedFrom = hash.get("unfedFrom");
  return {
    batch: toBatch(hash, { nowMs, waiting, live, done }),
    tenant,
    template: source === undefined ? undefined : JSON.parse(source),
    stdin: hash.has("stdin"),
    webhookUrl: hash.get("webhookUrl"),
    unfedFrom: unfedFrom === undefined ? undefined : Number(unfedFrom),
    isOver: hash.has("state"),
  };
}

interface Now {
  readonly nowMs: number;
  readonly waiting: number;
  readonly live: number;
  readonly done: number;
}

function toBatch(hash: Hash, now: Now): Batch {
  const number = (name: string) => Number(hash.get(name) ?? 0);
  const total = number("total");
  const running = number("active");
  const counts = {
    total,
    waiting: now.waiting,
    queued: Math.max(0, now.live - running),
    running,
    succeeded: number("succeeded"),
    failed: number("failed"),
    cancelled: number("cancelled"),
  };
  const over = counts.succeeded + counts.failed + counts.cancelled;
  const { name, stopping, finishedAt, concurrency } = Object.fromEntries(hash);
  return {
    id: hash.get("id") ?? "",
    ...(name === undefined ? {} : { name }),
    labels: JSON.parse(hash.get("labels") ?? "{}"),
    state: stateOf(hash),
    createdAt: wallTime(number("createdAt")),
    ...(finishedAt === undefined ? {} : { finishedAt: wallTime(Number(finishedAt)) }),
    lines: number("lines"),
    counts,
    malformed: number("malformed"),
    progress: total === 0 ? 0 : Math.round((over / total) * 1e4) / 1e4,
    ...estimate(hash, now, total - over),
    onFailure: policyOf(hash.get("maxFailures")),
    ...(concurrency === undefined ? {} : { concurrency: Number(concurrency) }),
    ...(stopping === "failures" || stopping === "cancel" ? { stopped: stopping } : {}),
  };
}

function stateOf(hash: Hash): BatchState {
  const state = hash.get("state");
  if (state !== undefined) return state === "cancelled" ? "cancelled" : "finished";
  if (hash.has("stopping")) return "stopping";
  if (hash.has("paused")) return "paused";
  return hash.has("closed") ? "running" : "open";
}

/** In `maxFailures`; nothing is there if it goes on whatever happens. */
export function failureLimit(policy: OnFailure | undefined): string | undefined {
  if (policy === undefined || policy === "continue") return undefined;
  return policy === "stop_on_first" ? "0" : String(policy.maxFailures);
}

function policyOf(limit: string | undefined): OnFailure {
  if (limit === undefined) return "continue";
  return limit === "0" ? "stop_on_first" : { maxFailures: Number(limit) };
}

function estimate(hash: Hash, { nowMs, done }: Now, left: number): { estimatedSeconds?: number } {
  const sinceMs = nowMs - Number(hash.get("lastAt") ?? nowMs);
  const came = done - Number(hash.get("lastDone") ?? done);
  if (hash.has("state") || hash.has("paused") || sinceMs < 1_000 || came < 1) return {};
  return { estimatedSeconds: Math.ceil((left * sinceMs) / came / 1000) };
}
