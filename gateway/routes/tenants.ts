// /v1/tenants: how much of the cluster each tenant may have, for operators.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { TENANT_PATTERN, TenantName } from "../../core/api-key.ts";
import { Tenant, TenantChange, TenantPage } from "../../core/tenant.ts";
import type { GatewayEnv } from "../context.ts";
import { MAX_AGE_MS } from "../dispatch/fresh.ts";
import type { TenantStore } from "../dispatch/tenant-store.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

const TenantParams = z.object({ name: TenantName.meta({ param: { name: "name", in: "path" } }) });

const EXAMPLE = { name: "acme", weight: 2, running: 50, memory: "64GiB", rate: 100, keys: 3 } satisfies Tenant;

const list = createRoute({
  method: "get",
  path: "/v1/tenants",
  summary: "The tenants that have settings or keys in Redis, by name (operators)",
  request: { query: page(TENANT_PATTERN) },
  responses: { 200: json(TenantPage, "With what each may have.", { tenants: [EXAMPLE] }), ...FAILURES },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/tenants/{name}",
  summary: "What a tenant may have; any name is a tenant's (operators)",
  request: { params: TenantParams },
  responses: { 200: json(Tenant, "A quota that is not there is not set.", EXAMPLE), ...FAILURES },
});

const set = createRoute({
  method: "patch",
  path: "/v1/tenants/{name}",
  summary: "Change what a tenant may have (operators)",
  request: {
    params: TenantParams,
    body: {
      required: true,
      content: { "application/json": { schema: TenantChange, example: { weight: 2, running: 50, queued: null } } },
    },
  },
  responses: {
    200: json(Tenant, `As it is now. A rate holds within ${MAX_AGE_MS / 1_000} s at every gateway.`, EXAMPLE),
    409: problem("There are as many tenants as may be."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

export function registerTenants(app: OpenAPIHono<GatewayEnv>, tenants: TenantStore): void {
  app.openapi(list, async (c) => c.json(await tenants.list(c.req.valid("query")), 200));

  app.openapi(inspect, async (c) => c.json(await tenants.get(c.req.valid("param").name), 200));

  app.openapi(set, async (c) => c.json(await tenants.set(c.req.valid("param").name, c.req.valid("json")), 200));
}
