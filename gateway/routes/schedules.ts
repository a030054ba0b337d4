// /v1/schedules: requests that are made again and again, of the caller's tenant.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { NewSchedule, SCHEDULE_NAME_PATTERN, Schedule, ScheduleName, SchedulePage } from "../../core/schedule.ts";
import type { GatewayEnv } from "../context.ts";
import type { Schedules } from "../dispatch/schedules.ts";
import type { Destinations } from "../webhooks/destinations.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

const Params = z.object({ name: ScheduleName.meta({ param: { name: "name", in: "path" } }) });
const NOT_FOUND = problem("The tenant has no schedule of this name.");

const make = createRoute({
  method: "post",
  path: "/v1/schedules",
  summary: "Make a schedule: a run at each minute that a cron expression names in a time zone",
  description: [
    "Each tick makes one run, however many gateways there are. A tick that comes while none is there is missed, and not made up for.",
    "Where clocks are put forward, a tick in the hour that is left out comes an hour later by the clock on the wall; where they are put back, one at a fixed hour comes once.",
    "A request that is refused at its tick is told as `lastError`.",
  ].join(" "),
  request: { body: { required: true, content: { "application/json": { schema: NewSchedule } } } },
  responses: {
    201: json(Schedule, "The schedule."),
    409: problem("There is one of this name, or there are as many as may be."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

const list = createRoute({
  method: "get",
  path: "/v1/schedules",
  summary: "The tenant's schedules, by name",
  request: { query: page(SCHEDULE_NAME_PATTERN) },
  responses: { 200: json(SchedulePage, "One page."), ...FAILURES },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/schedules/{name}",
  summary: "One schedule: when it is due, and what came of its last tick",
  request: { params: Params },
  responses: { 200: json(Schedule, "As it is now."), 404: NOT_FOUND, ...FAILURES },
});

const act = (what: "pause" | "resume", summary: string) =>
  createRoute({
    method: "post",
    path: `/v1/schedules/{name}/${what}` as const,
    summary,
    request: { params: Params },
    responses: { 200: json(Schedule, "As it is now."), 404: NOT_FOUND, ...FAILURES },
  });
const pause = act("pause", "No more runs until it is resumed; those that there are go on");
const resume = act("resume", "Runs again, from its next tick on");

const remove = createRoute({
  method: "delete",
  path: "/v1/schedules/{name}",
  summary: "Remove a schedule; runs that it has made are left alone",
  request: { params: Params },
  responses: { 204: { description: "It is gone." }, 404: NOT_FOUND, ...FAILURES },
});

export function registerSchedules(
  app: OpenAPIHono<GatewayEnv>,
  schedules: Schedules,
  destinations: Destinations,
): void {
  const named = (c: Context<GatewayEnv>, { name }: { name: string }) => ({ tenant: c.get("tenant"), name });

  app.openapi(make, async (c) => {
    const schedule = c.req.valid("json");
    destinations.admit(schedule.request.webhook);
    const made = await schedules.make(c.get("tenant"), schedule);
    c.header("location", `/v1/schedules/${made.name}`);
    return c.json(made, 201);
  });
  app.openapi(list, async (c) => c.json(await schedules.list(c.get("tenant"), c.req.valid("query")), 200));
  app.openapi(inspect, async (c) => c.json(await schedules.get(named(c, c.req.valid("param"))), 200));
  app.openapi(pause, async (c) => c.json(await schedules.pause(named(c, c.req.valid("param"))), 200));
  app.openapi(resume, async (c) => c.json(await schedules.resume(named(c, c.req.valid("param"))), 200));
  app.openapi(remove, async (c) => {
    await schedules.remove(named(c, c.req.valid("param")));
    return c.body(null, 204);
  });
}
