// GET /v1/runs and GET /v1/runs/count: runs by what they have in common.

import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { MayflyError } from "../../core/errors.ts";
import { toRun } from "../answer.ts";
import type { GatewayEnv } from "../context.ts";
import type { Filter, Lists, Whose } from "../dispatch/lists.ts";
import { CountQuery, type FilterQuery, ListQuery, RunCounts } from "./list-schemas.ts";
import { FAILURES, json, RunList } from "./schemas.ts";

const list = createRoute({
  method: "get",
  path: "/v1/runs",
  summary: "List runs, the newest first",
  request: { query: ListQuery },
  responses: { 200: json(RunList, "One page, without output."), ...FAILURES },
});

const count = createRoute({
  method: "get",
  path: "/v1/runs/count",
  summary: "How many runs there are in each state",
  request: { query: CountQuery },
  responses: { 200: json(RunCounts, "Of the runs that the filters let through."), ...FAILURES },
});

/** Before the routes of one run: `count` is no id. */
export function registerLists(app: OpenAPIHono<GatewayEnv>, lists: Lists): void {
  app.openapi(list, async (c) => {
    const query = c.req.valid("query");
    const whose = whoseRuns(c, query.tenant);
    const { records, next } = await lists.page(whose, filterOf(query), query);
    const ofTenant = (tenant: string) => (query.tenant === undefined ? {} : { tenant });
    const runs = records.map((record) => ({ ...toRun(record), ...ofTenant(record.tenant) }));
    return c.json({ runs, ...(next ? { next } : {}) }, 200);
  });

  app.openapi(count, async (c) => {
    const query = c.req.valid("query");
    return c.json(await lists.count(whoseRuns(c, query.tenant), filterOf(query)), 200);
  });
}

/** Other tenants' runs are the operator's to see. Throws `scope_missing`. */
function whoseRuns(c: Context<GatewayEnv>, tenant: string | undefined): Whose {
  if (tenant === undefined || tenant === c.get("tenant")) return { tenant: c.get("tenant") };
  if (!c.get("scopes").has("admin"))
    throw new MayflyError("scope_missing", "runs of other tenants want a key with the scope admin", {
      details: { scope: "admin" },
    });
  return tenant === "*" ? "everybody" : { tenant };
}

function filterOf({ state, label, image, since, until }: FilterQuery): Filter {
  return { state, labels: label, image, sinceMs: momentOf(since), untilMs: momentOf(until) };
}

const momentOf = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));
