// /healthz: this process answers. /readyz: it can accept runs, or why not.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { toMayflyError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { GatewayEnv } from "../context.ts";
import type { RunStore } from "../dispatch/run-store.ts";
import { Health, Readiness } from "./schemas.ts";

const healthz = createRoute({
  method: "get",
  path: "/healthz",
  summary: "Whether the gateway lives",
  security: [],
  responses: { 200: { description: "It does.", content: { "application/json": { schema: Health } } } },
});

const readyz = createRoute({
  method: "get",
  path: "/readyz",
  summary: "Whether the gateway accepts runs",
  security: [],
  responses: {
    200: { description: "It does.", content: { "application/json": { schema: Readiness } } },
    503: { description: "It does not, for these reasons.", content: { "application/json": { schema: Readiness } } },
  },
});

export function registerHealth(app: OpenAPIHono<GatewayEnv>, store: RunStore): void {
  app.openapi(healthz, (c) => c.json({ status: "ok" as const, version: VERSION }, 200));

  app.openapi(readyz, async (c) => {
    try {
      // No host is no reason: runs wait for one, and hosts come with the load.
      const hosts = await store.hosts();
      return c.json({ ready: true, reasons: [], hosts: hosts.length }, 200);
    } catch (thrown) {
      const reasons = [{ check: "redis", message: toMayflyError(thrown).message }];
      return c.json({ ready: false, reasons, hosts: 0 }, 503, { "retry-after": "1" });
    }
  });
}
