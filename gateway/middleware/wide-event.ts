// One line in the log for each request, and the time it took in its answer.

import type { MiddlewareHandler } from "hono";
import { monotonicMs } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { GatewayEnv } from "../context.ts";

/** Of no interest while they are answered well: probes come every few seconds. */
const QUIET: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

export function wideEvent(log: Log): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    const startedMs = monotonicMs();
    await next();
    const ms = Math.round((monotonicMs() - startedMs) * 1000) / 1000;
    c.header("server-timing", `total;dur=${ms}`, { append: true });
    if (QUIET.has(c.req.path) && c.res.status === 200) return;
    const { method, path } = c.req;
    log.info("request", {
      id: c.get("requestId"),
      method,
      path,
      status: c.res.status,
      ms,
      tenant: c.get("tenant"),
      run: c.get("run"),
    });
  };
}
