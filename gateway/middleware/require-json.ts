// A body must say that it is JSON. That also keeps out what a web page can send without asking: forms and plain text.

import type { MiddlewareHandler } from "hono";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";

export function requireJson(path: string): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    if (c.req.method !== "POST" || c.req.path !== path) return next();
    const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (type === "application/json") return next();
    throw new MayflyError(
      "unsupported_media_type",
      `Content-Type is ${type ?? "missing"}; it must be application/json`,
    );
  };
}
