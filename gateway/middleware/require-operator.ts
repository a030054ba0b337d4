// Images, hosts and metrics are the operator's: whoever has a key that is not an operator's may read two lists of images, and nothing else.

import type { MiddlewareHandler } from "hono";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";

/** Deny by default: every call below these, also one that is added later. */
const OPERATORS = /^\/(v1\/(images|hosts)|metrics)(\/|$)/;

/** What any tenant may ask: which images start at once, and what is in them. */
export const TENANT_CALLS: ReadonlySet<string> = new Set(["GET /v1/images", "GET /v1/images/inspect"]);

export function requireOperator(): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    const { method, path } = c.req;
    if (OPERATORS.test(path) && !c.get("isOperator") && !TENANT_CALLS.has(`${method} ${path}`))
      throw new MayflyError("operator_only", `${method} ${path} wants a key whose line ends with the word operator`);
    return next();
  };
}
