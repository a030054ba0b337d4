// /v1/dead-letters: runs that were to be tried again and have failed for good.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { REASONS } from "../../core/errors.ts";
import { RUN_ID_PATTERN } from "../../core/ids.ts";
import type { RunRecord } from "../../core/record.ts";
import { toRun } from "../answer.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Destinations } from "../webhooks/destinations.ts";
import { pageOfRuns } from "./list-schemas.ts";
import { FAILURES, json, problem, RunList, RunParams } from "./schemas.ts";

const NOT_FOUND = problem("There is no such run, it is another tenant's, or it is not among the dead letters.");
const NO_ROOM = problem("The queue is full, or the tenant has its share.");

const Retried = z
  .object({
    deadLetter: z.string().regex(RUN_ID_PATTERN),
    run: z.string().regex(RUN_ID_PATTERN).meta({ description: "The new run; its `retriedFrom` is the dead letter." }),
  })
  .meta({ id: "RetriedDeadLetter" });

const reasons = Object.keys(REASONS) as [keyof typeof REASONS];

const Sweep = z
  .object({
    retried: z.array(Retried),
    failed: z.array(z.object({ deadLetter: z.string(), reason: z.enum(reasons), message: z.string() })),
    next: z.string().optional().meta({ description: "The cursor to go on with, if there may be more." }),
  })
  .meta({ id: "RetriedDeadLetters" });

const SweepQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(100).meta({ description: "How many, from 1 to 100." }),
  cursor: pageOfRuns.cursor,
});

const list = createRoute({
  method: "get",
  path: "/v1/dead-letters",
  summary: "List runs that had `retry` or `retries` and have failed for good, the newest first",
  request: { query: z.strictObject(pageOfRuns) },
  responses: { 200: json(RunList, "One page, without output."), ...FAILURES },
});

const retryAll = createRoute({
  method: "post",
  path: "/v1/dead-letters/retry",
  summary: "Run a page of dead letters again, the newest first",
  request: { query: SweepQuery },
  responses: {
    200: json(Sweep, "What has become of each; those that failed stay on the list."),
    429: NO_ROOM,
    ...FAILURES,
  },
});

const retry = createRoute({
  method: "post",
  path: "/v1/dead-letters/{id}/retry",
  summary: "Run a dead letter again, as a new run with the same input; the old one leaves the list",
  request: { params: RunParams },
  responses: { 200: json(Retried, "The new run is accepted."), 404: NOT_FOUND, 429: NO_ROOM, ...FAILURES },
});

const dismiss = createRoute({
  method: "delete",
  path: "/v1/dead-letters/{id}",
  summary: "Take a run off the list; it is kept like all that have finished",
  request: { params: RunParams },
  responses: { 204: { description: "It is no dead letter any more." }, 404: NOT_FOUND, ...FAILURES },
});

export function registerDeadLetters(
  app: OpenAPIHono<GatewayEnv>,
  dispatcher: Dispatcher,
  destinations: Destinations,
): void {
  const { deadLetters } = dispatcher;
  const admitted = (record: RunRecord) => {
    destinations.admit(record.request.webhook); // What was allowed then may not be now.
    return record;
  };

  app.openapi(list, async (c) => {
    const { records, next } = await deadLetters.list(c.get("tenant"), c.req.valid("query"));
    return c.json({ runs: records.map((record) => toRun(record)), ...(next ? { next } : {}) }, 200);
  });

  app.openapi(retryAll, async (c) => {
    const { retried, failed, next } = await deadLetters.retryPage(c.get("tenant"), c.req.valid("query"), admitted);
    const failures = failed.map(({ deadLetter, error }) => ({
      deadLetter,
      reason: error.reason,
      message: error.message,
    }));
    return c.json({ retried, failed: failures, ...(next ? { next } : {}) }, 200);
  });

  app.openapi(retry, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    return c.json(await deadLetters.retry(admitted(await dispatcher.get(id, c.get("tenant")))), 200);
  });

  app.openapi(dismiss, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    await deadLetters.dismiss(await dispatcher.get(id, c.get("tenant")));
    return c.body(null, 204);
  });
}
