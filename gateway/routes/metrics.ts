// GET /metrics: what this gateway has counted, for Prometheus. An operator's to read, as hosts and images are: without keys that is
// everybody on loopback, with keys nobody without one, wherever he calls from. A proxy on this machine would make all the world local.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Metrics } from "../../telemetry/metrics.ts";
import { PROMETHEUS_TYPE, prometheusText } from "../../telemetry/prometheus.ts";
import type { GatewayEnv } from "../context.ts";
import { FAILURES, problem } from "./schemas.ts";

const route = createRoute({
  method: "get",
  path: "/metrics",
  summary: "What this gateway has counted, in Prometheus' text format (operators)",
  responses: {
    200: { description: "The metrics.", content: { "text/plain": { schema: z.string() } } },
    ...FAILURES,
    403: problem("The call is an operator's, and the key is not."),
  },
});

export function registerMetrics(app: OpenAPIHono<GatewayEnv>, metrics: Metrics): void {
  app.openapi(route, async (c) => c.text(await prometheusText(metrics), 200, { "content-type": PROMETHEUS_TYPE }));
}
