// Which scope each call wants: the one place where that is said. A route that is not here may be called by nobody.

import type { Scope } from "../core/api-key.ts";

/** By method and path, as Hono has it. HEAD is answered by GET's routes, and wants what they want. */
export const ROUTE_SCOPES: Readonly<Record<string, Scope>> = {
  "POST /v1/runs": "submit",
  "POST /v1/run/:image{.+}": "submit",
  "POST /v1/runs/:id/stdin": "submit",
  "POST /v1/runs/:id/resize": "submit",
  "POST /v1/runs/:id/deliveries/retry": "submit",
  "POST /v1/dead-letters/retry": "submit",
  "POST /v1/dead-letters/:id/retry": "submit",
  // Who may submit may have webhooks sent, and has to be able to check them.
  "GET /v1/webhooks/secret": "submit",
  "POST /v1/webhooks/secret/rotate": "submit",

  "POST /v1/uploads": "submit",
  "DELETE /v1/uploads/:id": "submit",
  "POST /v1/schedules": "submit",
  "POST /v1/schedules/:name/pause": "submit",
  "POST /v1/schedules/:name/resume": "submit",
  "DELETE /v1/schedules/:name": "submit",

  "GET /v1/uploads": "read",
  "GET /v1/uploads/:id": "read",
  "POST /v1/batches": "submit",
  "POST /v1/batches/:id/items": "submit",

  "GET /v1/batches": "read",
  "GET /v1/batches/:id": "read",
  "GET /v1/batches/:id/results": "read",
  "GET /v1/schedules": "read",
  "GET /v1/schedules/:name": "read",
  "GET /v1/runs": "read",
  "GET /v1/runs/count": "read",
  "GET /v1/dead-letters": "read",
  "GET /v1/runs/:id": "read",
  "GET /v1/runs/:id/output/:stream": "read",
  "GET /v1/runs/:id/artifacts": "read",
  "GET /v1/runs/:id/artifacts/:path{.+}": "read",
  "GET /v1/runs/:id/events": "read",
  "GET /v1/runs/:id/deliveries": "read",
  // Which images start at once, and what is in them: no more than a run could find out.
  "GET /v1/images": "read",
  "GET /v1/images/inspect": "read",

  "POST /v1/batches/:id/pause": "cancel",
  "POST /v1/batches/:id/resume": "cancel",
  "POST /v1/batches/:id/cancel": "cancel",
  "POST /v1/runs/:id/cancel": "cancel",
  "POST /v1/runs/:id/signal": "cancel",
  // To be done with a run, whether it goes on or is over.
  "DELETE /v1/runs/:id": "cancel",
  "DELETE /v1/dead-letters/:id": "cancel",

  // Images and hosts are the operator's, and so are all tenants' keys.
  "DELETE /v1/images": "admin",
  "GET /v1/images/usage": "admin",
  "GET /v1/images/save": "admin",
  "POST /v1/images/load": "admin",
  "POST /v1/images/pin": "admin",
  "POST /v1/images/prune": "admin",
  "POST /v1/images/pull": "admin",
  "POST /v1/images/verify": "admin",
  "GET /metrics": "admin",
  "GET /v1/hosts": "admin",
  "GET /v1/hosts/:id": "admin",
  "POST /v1/hosts/:id/cordon": "admin",
  "POST /v1/hosts/:id/drain": "admin",
  "POST /v1/hosts/:id/uncordon": "admin",
  "GET /v1/keys": "admin",
  "POST /v1/keys": "admin",
  "POST /v1/keys/:id/rotate": "admin",
  "DELETE /v1/keys/:id": "admin",
  "GET /v1/secrets": "admin",
  "PUT /v1/secrets/:name": "admin",
  "DELETE /v1/secrets/:name": "admin",
  "GET /v1/tenants": "admin",
  "GET /v1/tenants/:name": "admin",
  "PATCH /v1/tenants/:name": "admin",
};

/** What anybody may read: whether the gateway lives, and how its API is used. */
export const PUBLIC_ROUTES: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/openapi.json", "/docs"]);

interface Operation {
  security?: unknown;
  responses?: Record<string, unknown>;
}

const RATE_LIMITED = {
  description: "The tenant makes more requests than it may; come back after `Retry-After`.",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

/** An OpenAPI 3.1 document in which each call says which scope it wants, and that it counts against its tenant's rate. */
export function describeScopes<T extends { paths?: object | undefined }>(document: T): T {
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods as Record<string, Operation>)) {
      const route = `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`;
      const scope = ROUTE_SCOPES[route] ?? ROUTE_SCOPES[`${route}{.+}`]; // A parameter with slashes in it has a pattern.
      if (scope === undefined) continue;
      operation.security = [{ key: [scope] }];
      operation.responses = { 429: RATE_LIMITED, ...operation.responses };
    }
  }
  return document;
}
