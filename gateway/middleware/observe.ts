// A span and a count for each request. The span continues what the caller says of his trace; a run that is submitted continues it.

import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { isMayflyError } from "../../core/errors.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import { parseTraceContext } from "../../telemetry/trace-context.ts";
import { nowMs, type Span, type Tracing, UNTRACED } from "../../telemetry/tracing.ts";
import type { GatewayEnv } from "../context.ts";
import { QUIET } from "./wide-event.ts";

/** Of what is asked for that there is not: paths are the caller's to make up, and label nothing. */
const NO_ROUTE = "none";

export function observe({ tracing, metrics }: Telemetry): MiddlewareHandler<GatewayEnv> {
  const labels = ["method", "route", "status"];
  const requests = metrics.counter("mayfly_http_requests_total", "Requests that were answered.", labels);
  const seconds = metrics.histogram("mayfly_http_request_seconds", "Time to the head of the answer.", ["route"]);
  return async (c, next) => {
    const startMs = nowMs();
    const route = routeOf(c);
    const span = QUIET.has(c.req.path) ? UNTRACED : beginSpan(tracing, c, { route, startMs });
    c.set("span", span);
    await next();
    const endMs = nowMs();
    const { status } = c.res;
    setImmediate(() => {
      const method = route === NO_ROUTE ? NO_ROUTE : c.req.method;
      requests.add({ method, route, status: String(status) });
      seconds.observe({ route }, (endMs - startMs) / 1000);
      endSpan(span, c, { status, endMs });
    }); // The answer goes first.
  };
}

function beginSpan(
  tracing: Tracing,
  c: Context<GatewayEnv>,
  { route, startMs }: { route: string; startMs: number },
): Span {
  const { method, path } = c.req;
  const parent = parseTraceContext(c.req.header("traceparent"), c.req.header("tracestate"));
  return tracing.begin(route === NO_ROUTE ? method : `${method} ${route}`, parent, {
    kind: "server",
    startMs,
    attributes: {
      "http.request.method": method,
      "url.path": path,
      "url.scheme": "http",
      ...(route === NO_ROUTE ? {} : { "http.route": route }),
    },
  });
}

function endSpan(span: Span, c: Context<GatewayEnv>, { status, endMs }: { status: number; endMs: number }): void {
  if (span === UNTRACED) return;
  span.set({
    "http.response.status_code": status,
    "mayfly.request.id": c.get("requestId"),
    "mayfly.run.id": c.get("run"),
    "mayfly.tenant": c.get("tenant"),
  });
  // Of what the caller did wrong the server's span says nothing but the status.
  if (status >= 500) span.fail(isMayflyError(c.error) ? c.error.reason : String(status));
  span.end(endMs);
}

/** As it is registered: `/v1/runs/:id`. Middleware is registered for all methods. */
function routeOf(c: Context): string {
  return matchedRoutes(c).findLast(({ method }) => method !== "ALL")?.path ?? NO_ROUTE;
}
