// GET /v1/hosts: the workers that live, as they tell of themselves.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import type { GatewayEnv } from "../context.ts";
import type { Hosts } from "../dispatch/hosts.ts";
import { HostList } from "./image-schemas.ts";
import { FAILURES, json } from "./schemas.ts";

const list = createRoute({
  method: "get",
  path: "/v1/hosts",
  summary: "The hosts that live, by name (operators)",
  responses: {
    200: json(HostList, "What each tells of itself, at most some seconds old."),
    ...FAILURES,
  },
});

export function registerHosts(app: OpenAPIHono<GatewayEnv>, hosts: Hosts): void {
  app.openapi(list, async (c) => c.json({ hosts: await hosts.living() }, 200));
}
