// A body must say that it is JSON, and be narrow enough to be looked at. The first also keeps out what a web page can send
// without asking: forms and plain text.

import type { MiddlewareHandler } from "hono";
import { MayflyError } from "../../core/errors.ts";
import { BOUNDS } from "../../core/request.ts";
import { SECRET_BOUNDS } from "../../core/secret.ts";
import type { GatewayEnv } from "../context.ts";
import { isLines } from "./limit-body.ts";

/** The calls that take JSON. */
const PATHS =
  /^\/v1\/(runs(\/[^/]+\/(resize|signal))?|images\/(pull|pin|prune|verify)|keys(\/[^/]+\/rotate)?|tenants\/[^/]+|hosts\/[^/]+\/drain|schedules|batches)$/;
const METHODS: ReadonlySet<string> = new Set(["POST", "PATCH"]);

function takesJson(method: string, path: string): boolean {
  return method === "PUT" ? /^\/v1\/secrets\/[^/]+$/.test(path) : METHODS.has(method) && PATHS.test(path);
}

export function requireJson(): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    if (!takesJson(c.req.method, c.req.path) || isLines(c)) return next();
    const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (type !== "application/json") {
      const message = `Content-Type is ${type ?? "missing"}; it must be application/json`;
      throw new MayflyError("unsupported_media_type", message);
    }
    // What is not JSON at all is told by whoever reads it next.
    const body = await c.req.json().catch(() => undefined);
    const wide = findTooWide(body) ?? findTooWide(body?.request ?? body?.template); // That of a schedule, or of a batch.
    if (!wide) return next();
    const { field, limit } = wide;
    throw new MayflyError("invalid_field", `${field} has more than ${limit} names`, { details: { field } });
  };
}

/** How many names an object of the request may have. Of the request itself, more than it has fields, so that mistakes are named. */
const MAX_NAMES: Readonly<Record<string, number>> = {
  request: 64,
  env: BOUNDS.environment,
  secretEnv: SECRET_BOUNDS.ofRun,
  labels: BOUNDS.labels,
  limits: 16,
  timeouts: 16,
  terminal: 16,
  webhook: 16,
  retry: 16,
};

/**
 * The first object in a body that has too many names. To be asked before the schema, which looks at each entry: a million bad
 * names would take it seconds.
 */
export function findTooWide(body: unknown): { readonly field: string; readonly limit: number } | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  for (const [field, limit] of Object.entries(MAX_NAMES)) {
    const part: unknown = field === "request" ? body : Reflect.get(body, field);
    if (typeof part === "object" && part !== null && !Array.isArray(part) && Object.keys(part).length > limit)
      return { field, limit };
  }
  return undefined;
}
