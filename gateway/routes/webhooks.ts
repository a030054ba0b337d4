// /v1/runs/{id}/deliveries and /v1/webhooks/secret: what came of telling, once more, and what it is signed with.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { MayflyError } from "../../core/errors.ts";
import type { RunRecord } from "../../core/record.ts";
import { Deliveries, RunFinished, WebhookSecret } from "../../core/webhook.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { noticeId } from "../webhooks/notice.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import { FAILURES, json, problem, RunParams } from "./schemas.ts";

const NOT_FOUND = problem("There is no such run, it is another tenant's, or it was made without a webhook.");

const deliveries = createRoute({
  method: "get",
  path: "/v1/runs/{id}/deliveries",
  summary: "What came of telling the run's webhook that it has finished",
  request: { params: RunParams },
  responses: { 200: json(Deliveries, "The attempts so far, and what is next."), 404: NOT_FOUND, ...FAILURES },
});

const retry = createRoute({
  method: "post",
  path: "/v1/runs/{id}/deliveries/retry",
  summary: "Tell the run's webhook once more, now; if that fails, on the whole schedule again",
  request: { params: RunParams },
  responses: {
    202: json(Deliveries, "It is due. An attempt that is under way is not doubled."),
    404: NOT_FOUND,
    409: problem("The run has not finished."),
    ...FAILURES,
  },
});

const secret = createRoute({
  method: "get",
  path: "/v1/webhooks/secret",
  summary: "What the tenant's webhooks are signed with",
  responses: { 200: json(WebhookSecret, "Made when it is first asked for, or first needed."), ...FAILURES },
});

const rotate = createRoute({
  method: "post",
  path: "/v1/webhooks/secret/rotate",
  summary: "A new secret; for a day, deliveries are signed with the one before as well",
  responses: { 200: json(WebhookSecret, "The new one, and those that sign beside it."), ...FAILURES },
});

/** A secret is for its reader alone, and for now. */
const NOT_KEPT = { "cache-control": "no-store" };

export function registerWebhooks(app: OpenAPIHono<GatewayEnv>, dispatcher: Dispatcher, webhooks: Webhooks): void {
  const { outbox, secrets } = webhooks;
  const entryOf = (id: string) => `run:${id}`;

  const told = async (record: RunRecord): Promise<Deliveries> => {
    const { id, request, state } = record;
    if (!request.webhook) throw new MayflyError("webhook_not_found", `the run ${id} was made without a webhook`);
    const common = { id: noticeId(id), url: request.webhook.url };
    if (state !== "finished") return { ...common, state: "waiting", attempts: [] };
    return { ...common, ...(await outbox.read(entryOf(id))) };
  };

  app.openapi(deliveries, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    return c.json(await told(await dispatcher.get(id, c.get("tenant"))), 200);
  });

  app.openapi(retry, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    const record = await dispatcher.get(id, c.get("tenant"));
    const { state } = await told(record);
    if (state === "waiting") throw new MayflyError("run_not_finished", `the run ${id} is ${record.state}`);
    if (!(await outbox.retry(entryOf(id)))) throw new MayflyError("run_not_found", `there is no run ${id} any more`);
    return c.json(await told(record), 202);
  });

  app.openapi(secret, async (c) => c.json(await secrets.get(c.get("tenant")), 200, NOT_KEPT));
  app.openapi(rotate, async (c) => c.json(await secrets.rotate(c.get("tenant")), 200, NOT_KEPT));

  app.openAPIRegistry.registerWebhook({
    method: "post",
    path: "run.finished",
    summary: "Sent to the URL of a run's `webhook`, signed as Standard Webhooks has it",
    request: { body: { content: { "application/json": { schema: RunFinished } } } },
    responses: {
      "2XX": { description: "It has been taken, and is not sent again." },
      410: { description: "No more of this one, please." },
      default: { description: "It is sent again later, at most some times. `Retry-After` of 429 and 503 is heeded." },
    },
  });
}
