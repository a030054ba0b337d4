// /v1/runs/{id}/resize and /v1/runs/{id}/signal: what a run is told while it goes on.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { SignalRequest, TerminalSize } from "../../core/control.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { FAILURES, NOT_FOUND, problem, RunParams } from "./schemas.ts";

const resize = createRoute({
  method: "post",
  path: "/v1/runs/{id}/resize",
  summary: "The terminal of a run has another size now; one that comes before the program is kept for it",
  request: {
    params: RunParams,
    body: { required: true, content: { "application/json": { schema: TerminalSize } } },
  },
  responses: {
    204: { description: "The size is recorded, and the program is told by SIGWINCH if it runs." },
    404: NOT_FOUND,
    409: problem("The run has no terminal, or has finished."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

const signal = createRoute({
  method: "post",
  path: "/v1/runs/{id}/signal",
  summary: "Send a signal to the program of a run; how it takes it is its own affair",
  request: {
    params: RunParams,
    body: { required: true, content: { "application/json": { schema: SignalRequest } } },
  },
  responses: {
    202: {
      description: "The run's host has been told. A signal may be lost with a connection; a cancellation is not.",
    },
    404: NOT_FOUND,
    409: problem("The program does not run: it has not been started yet, or it has ended."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

export function registerControl(app: OpenAPIHono<GatewayEnv>, dispatcher: Dispatcher): void {
  const { orders } = dispatcher.store;

  app.openapi(resize, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    await orders.resize(await dispatcher.get(id, c.get("tenant")), c.req.valid("json"));
    return c.body(null, 204);
  });

  app.openapi(signal, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    await orders.signal(await dispatcher.get(id, c.get("tenant")), c.req.valid("json").signal);
    return c.body(null, 202);
  });
}
