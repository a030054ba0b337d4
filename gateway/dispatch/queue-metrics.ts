// What a gateway counts beyond its own requests: how many runs wait and for how long, and the runs whose end no worker has told, because it
// was the gateway that ended them.

import type { Redis } from "ioredis";
import { keys } from "../../core/keys.ts";
import type { Outcome } from "../../core/run.ts";
import type { Counter, Sample } from "../../telemetry/metrics.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { Settled } from "./reaper.ts";
import { onRedis } from "./redis.ts";

/** Every gateway tells the same of the queues: they are the cluster's. */
export function measureQueues({ metrics }: Telemetry, redis: Redis, pools: readonly string[]): void {
  const ofEach = (read: (pool: string) => Promise<number>) => () =>
    Promise.all(pools.map(async (pool): Promise<Sample> => ({ labels: { pool }, value: await read(pool) })));
  const depth = (pool: string) => onRedis(redis, () => redis.zcard(keys.queued(pool)));
  const age = (pool: string) => onRedis(redis, () => oldestSeconds(redis, pool));
  metrics.gauge("mayfly_queue_runs", "Runs that wait for a host.", ofEach(depth));
  metrics.gauge("mayfly_queue_oldest_seconds", "How long the one that came first has waited.", ofEach(age));
}

async function oldestSeconds(redis: Redis, pool: string): Promise<number> {
  const [[, sinceMs], [seconds]] = await Promise.all([
    redis.zrange(keys.queued(pool), "0", "0", "WITHSCORES"),
    redis.time(),
  ]);
  return sinceMs === undefined ? 0 : Math.max(0, Number(seconds) - Number(sinceMs) / 1000);
}

/** Runs by how they ended, of those that this gateway has ended itself. */
export function countRuns({ metrics }: Telemetry): (outcome: Outcome["kind"]) => void {
  const runs = metrics.counter("mayfly_runs_total", "Runs that this process has ended, by how.", ["outcome"]);
  return (outcome) => runs.add({ outcome });
}

/** What becomes of overdue runs, counted, and told in their traces: of an attempt whose worker was killed nobody else tells. */
export function observeSettled(telemetry: Telemetry, redis: Redis, count: (outcome: Outcome["kind"]) => void): Settled {
  const moved: Counter = telemetry.metrics.counter(
    "mayfly_runs_moved_total",
    "Runs that were queued again because their host did not bring them to an end.",
  );
  return async (id, answer) => {
    const fields = ["outcome", "attempt", "traceparent", "tracestate"] as const;
    const [text, attempt, traceparent, tracestate] = await onRedis(redis, () => redis.hmget(keys.run(id), ...fields));
    const { kind } = answer === "finished" && text ? (JSON.parse(text) as Outcome) : {};
    if (kind) count(kind);
    else moved.add({});
    const parent = traceparent ? { traceparent, tracestate: tracestate ?? undefined } : undefined;
    const attributes = { "mayfly.run.id": id, "mayfly.run.attempt": Number(attempt), "mayfly.run.outcome": kind };
    const span = telemetry.tracing.begin(`overdue ${answer}`, parent, { attributes });
    span.fail(kind ?? "moved");
    span.end();
  };
}
