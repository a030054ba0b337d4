// /v1/hosts: the workers that live, as they tell of themselves, and what an operator tells them.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { DRAIN_BOUNDS, DRAIN_MS, HostRecord } from "../../core/host.ts";
import { DURATION_FORM, formatDuration, parseDuration } from "../../core/units.ts";
import type { GatewayEnv } from "../context.ts";
import type { Duties, Obedience } from "../dispatch/duties.ts";
import type { Hosts } from "../dispatch/hosts.ts";
import { body, HostList } from "./image-schemas.ts";
import { FAILURES, json, problem } from "./schemas.ts";

const HostParams = z.object({
  id: z
    .string()
    .min(1)
    .max(63)
    .meta({ param: { name: "id", in: "path" }, example: "vm-c4f20be5" }),
});

/** How long a drain waits, in ms once it is read. */
export const DrainHost = z
  .strictObject({
    timeout: z
      .string()
      .superRefine((text, c) => {
        const ms = parseDuration(text);
        if (ms === undefined) c.addIssue({ code: "custom", message: `is not ${DURATION_FORM}` });
        else if (ms > DRAIN_BOUNDS.max)
          c.addIssue({ code: "custom", message: `is more than ${formatDuration(DRAIN_BOUNDS.max)}` });
      })
      .default(formatDuration(DRAIN_MS))
      .meta({
        description: `How long what runs may go on, at most ${formatDuration(DRAIN_BOUNDS.max)}; then it is given up, as when the worker is stopped.`,
      }),
  })
  .meta({ id: "DrainHost" });

const HOST_FAILURES = {
  ...FAILURES,
  404: problem("There is no such host."),
};

const list = createRoute({
  method: "get",
  path: "/v1/hosts",
  summary: "The hosts that live, by name (operators)",
  responses: {
    200: json(HostList, "What each tells of itself, at most some seconds old."),
    ...FAILURES,
  },
});

const get = createRoute({
  method: "get",
  path: "/v1/hosts/{id}",
  summary: "One host that lives (operators)",
  request: { params: HostParams },
  responses: { 200: json(HostRecord, "What it tells of itself, at most some seconds old."), ...HOST_FAILURES },
});

const OBEYED = {
  200: json(HostRecord, "It is so; what the host tells of itself."),
  202: json(
    HostRecord,
    "It is recorded, and the host has not told yet that it is so. It will be within its next beat.",
  ),
  ...HOST_FAILURES,
};

const order = <V extends string>(verb: V, summary: string) =>
  createRoute({
    method: "post",
    path: `/v1/hosts/{id}/${verb}` as const,
    summary: `${summary} (operators)`,
    request: { params: HostParams },
    responses: OBEYED,
  });

const cordon = order("cordon", "Give a host no new runs, until it is uncordoned; also if its worker is started again");
const uncordon = order("uncordon", "Give a host runs again; a drain that is under way ends");

const drain = createRoute({
  method: "post",
  path: "/v1/hosts/{id}/drain",
  summary:
    "Cordon a host, and have it be rid of its runs: it is `draining`, and `cordoned` once it has none (operators)",
  request: { params: HostParams, ...body(DrainHost) },
  responses: { ...OBEYED, 415: problem("The body is not application/json.") },
});

export function registerHosts(app: OpenAPIHono<GatewayEnv>, hosts: Hosts, duties: Duties): void {
  app.openapi(list, async (c) => c.json({ hosts: await hosts.living() }, 200));
  app.openapi(get, async (c) => {
    const [host] = await hosts.living([c.req.valid("param").id]);
    return c.json(host as HostRecord, 200); // `living` has thrown if there is none.
  });
  const told = ({ host, isObeyed }: Obedience) => [host, isObeyed ? 200 : 202] as const;
  app.openapi(cordon, async (c) => c.json(...told(await duties.cordon(c.req.valid("param").id))));
  app.openapi(uncordon, async (c) => c.json(...told(await duties.uncordon(c.req.valid("param").id))));
  app.openapi(drain, async (c) => {
    const timeoutMs = parseDuration(c.req.valid("json").timeout) ?? DRAIN_MS;
    return c.json(...told(await duties.drain(c.req.valid("param").id, timeoutMs)));
  });
}
