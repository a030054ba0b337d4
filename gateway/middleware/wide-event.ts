// One line in the log for each request, and the time it took in its answer.

import type { Context, MiddlewareHandler } from "hono";
import { monotonicMs, roundMs } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { GatewayEnv } from "../context.ts";
import { withoutKeys } from "../key-material.ts";

/** Of no interest while they are answered well: probes come every few seconds. */
export const QUIET: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"]);

export function wideEvent(log: Log): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    const startedMs = monotonicMs();
    c.set("startedMs", startedMs);
    await next();
    if (c.get("timing") === undefined) addTiming(c);
    const { status } = c.res;
    if (QUIET.has(c.req.path) && status === 200) return;
    const { method } = c.req;
    const path = withoutKeys(c.req.path);
    const ms = roundMs(monotonicMs() - startedMs);
    const caller = { tenant: c.get("tenant"), key: c.get("key") };
    const fields = {
      id: c.get("requestId"),
      method,
      path,
      status,
      ms,
      ...caller,
      run: c.get("run"),
      ...c.get("span").ids,
    };
    setImmediate(() => log.info("request", fields)); // The answer goes first.
  };
}

/**
 * The Server-Timing header: `phases`, if there are any, and the time until now. Cheapest before the answer is made; an answer
 * that has none yet gets it after.
 */
export function addTiming(c: Context<GatewayEnv>, phases = ""): void {
  const total = `total;dur=${roundMs(monotonicMs() - c.get("startedMs"))}`;
  c.set("timing", phases ? `${phases}, ${total}` : total);
  c.header("server-timing", c.get("timing"));
}
