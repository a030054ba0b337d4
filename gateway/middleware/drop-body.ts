// The answer to HEAD is a head. What would have made its body (a stream of events, an archive) is told that nobody reads it: it would
// wait for a reader for ever, and hold the place of one.

import type { MiddlewareHandler } from "hono";
import type { GatewayEnv } from "../context.ts";

export function dropBody(): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    await next();
    if (c.req.method === "HEAD") await c.res.body?.cancel();
  };
}
