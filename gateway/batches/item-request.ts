// The request of an item, or of all that a template makes: checked, and what the queue has to know of it.

import type { ZodError } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { describeIssues } from "../../core/issues.ts";
import { planRun } from "../../core/plan.ts";
import { retryField, webhookField } from "../../core/record.ts";
import { BOUNDS, RunRequest } from "../../core/request.ts";
import { formatDuration } from "../../core/units.ts";
import { requireNear } from "../dispatch/due.ts";
import { findTooWide } from "../middleware/require-json.ts";
import type { Destinations } from "../webhooks/destinations.ts";

export interface ItemRules {
  readonly pools: readonly string[];
  readonly destinations: Pick<Destinations, "admit">;
  readonly maxLineBytes: number;
}

/** An item is fed when there is room for it, and then waits like any run: but unless it says so itself, no clock ends that. */
const QUEUE_CLOCK = formatDuration(BOUNDS.queueMs.max);

/** A request as Redis is to keep it, and apart from it what its program reads and finds. */
export interface Checked {
  readonly request: RunRequest;
  readonly stdin: Buffer;
  /** JSON, or nothing. */
  readonly files: string;
}

/** Throws `invalid_field` that tells all that is wrong. */
export function checkRequest(value: unknown, rules: ItemRules): Checked {
  const wide = findTooWide(value);
  if (wide) throw new MayflyError("invalid_field", `${wide.field} has more than ${wide.limit} names`);
  const parsed = RunRequest.safeParse(value);
  if (!parsed.success) throw invalid(parsed.error);
  const { stdin, files = [], ...request } = parsed.data;
  const { pool, webhook, timeouts, notBefore } = request;
  if (notBefore !== undefined) requireNear(notBefore, Date.now());
  if (pool !== undefined && !rules.pools.includes(pool))
    throw new MayflyError("invalid_field", `there is no pool ${pool}`);
  rules.destinations.admit(webhook);
  if (typeof stdin === "object" && "stream" in stdin)
    throw new MayflyError("invalid_field", "stdin of an item must be there with it: stream is for a run by itself");
  return {
    // The record says that there were such, as that of every run does.
    request: {
      ...request,
      ...(stdin === undefined ? {} : { stdin: "" }),
      ...(files.length === 0 ? {} : { files: [] }),
      timeouts: { queue: QUEUE_CLOCK, ...timeouts },
    },
    files: files.length === 0 ? "" : JSON.stringify(files),
    stdin:
      stdin === undefined
        ? NOTHING
        : typeof stdin === "string"
          ? Buffer.from(stdin)
          : Buffer.from(stdin.base64, "base64"),
  };
}

const NOTHING = Buffer.alloc(0);

/** What the queue has to know of a run before it has the record; as `placing_of` of batch-feed-parts.ts reads it. */
export function shapeOf(request: RunRequest): string {
  const { pool, demand, size, priority, concurrency, due, timeouts } = planRun(request);
  const shape = [
    ...[
      pool,
      demand.cpus,
      demand.memoryBytes,
      demand.pids,
      size,
      priority,
      concurrency?.key ?? "",
      concurrency?.max ?? 0,
    ],
    ...["afterMs" in due ? `+${due.afterMs}` : due.atMs, timeouts.queueMs],
    webhookField(request)[1] ?? "",
    retryField(request)[1] ?? "",
  ];
  return JSON.stringify(shape.map(String));
}

export function invalid(error: ZodError): MayflyError {
  const problems = describeIssues(error, MAX_PROBLEMS).map(({ path, message }) =>
    `${path.join(".")} ${message}`.trim(),
  );
  return new MayflyError("invalid_field", problems.join("; "));
}

/** So many are told of one line. */
const MAX_PROBLEMS = 5;
