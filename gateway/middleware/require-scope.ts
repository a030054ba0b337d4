// Deny by default: a call is let through if its route is in the table of scopes and the key has the scope that stands there.
//
// It goes by the route that Hono has found, and not by the path: whatever a path looks like, what answers it is what is looked up.

import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import { PUBLIC_ROUTES, ROUTE_SCOPES } from "../route-scopes.ts";

export function requireScope(): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    for (const route of routesOf(c)) check(c, route);
    return next();
  };
}

/** What would answer the request, such as `GET /v1/runs/:id`; none where there is no such route. Middleware is for all methods. */
function routesOf(c: Context): string[] {
  return matchedRoutes(c).flatMap(({ method, path }) => (method === "ALL" ? [] : [`${method} ${path}`]));
}

function check(c: Context<GatewayEnv>, route: string): void {
  if (PUBLIC_ROUTES.has(route.slice("GET ".length)) && route.startsWith("GET ")) return;
  const scope = Object.hasOwn(ROUTE_SCOPES, route) ? ROUTE_SCOPES[route] : undefined;
  if (scope === undefined)
    throw new MayflyError("scope_missing", `${route} has no scope, and so may be called by nobody`);
  if (!c.get("scopes").has(scope))
    throw new MayflyError("scope_missing", `${route} wants a key with the scope ${scope}`, { details: { scope } });
}
