// /v1/images: the images of all hosts, host by host. A host that fails is told as such, and the others are told as ever.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  ImageInfo,
  ImageInspection,
  ImagesOfHosts,
  ImageUsage,
  InspectionOfHosts,
  PinnedOfHosts,
  Reclaimed,
  ReclaimedOfHosts,
  UsageOfHosts,
} from "../../core/images.ts";
import { parseDuration } from "../../core/units.ts";
import type { GatewayEnv } from "../context.ts";
import { type Hosts, settled, WORK_MS } from "../dispatch/hosts.ts";
import { body, HostQuery, IMAGE_FAILURES, ImageQuery, PinImage, PruneImages } from "./image-schemas.ts";
import { json } from "./schemas.ts";

const list = createRoute({
  method: "get",
  path: "/v1/images",
  summary: "The images that hosts have; on each the least recently used first",
  request: { query: HostQuery },
  responses: { 200: json(ImagesOfHosts, "Host by host."), ...IMAGE_FAILURES },
});

const usage = createRoute({
  method: "get",
  path: "/v1/images/usage",
  summary: "What images take on the disks of hosts (operators)",
  request: { query: HostQuery },
  responses: { 200: json(UsageOfHosts, "Host by host."), ...IMAGE_FAILURES },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/images/inspect",
  summary: "All there is to know of an image: its config, its layers, how it was made",
  request: { query: ImageQuery },
  responses: { 200: json(InspectionOfHosts, "Host by host; `image_not_present` where it is not."), ...IMAGE_FAILURES },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/images",
  summary: "Remove an image from hosts, unless it is held by a run or pinned (operators)",
  request: { query: ImageQuery },
  responses: { 200: json(ReclaimedOfHosts, "Host by host; `image_in_use` where it stays."), ...IMAGE_FAILURES },
});

const pin = createRoute({
  method: "post",
  path: "/v1/images/pin",
  summary: "Keep an image on hosts whatever else they need the room for, or no longer (operators)",
  request: body(PinImage),
  responses: { 200: json(PinnedOfHosts, "Host by host."), ...IMAGE_FAILURES },
});

const prune = createRoute({
  method: "post",
  path: "/v1/images/prune",
  summary: "Remove every image that nothing holds and nobody pinned (operators)",
  request: body(PruneImages),
  responses: { 200: json(ReclaimedOfHosts, "Host by host."), ...IMAGE_FAILURES },
});

export function registerImages(app: OpenAPIHono<GatewayEnv>, hosts: Hosts): void {
  /** The same question to each host of these names, or to all. */
  async function askEach<T extends object>(
    names: readonly string[] | undefined,
    ask: (host: Awaited<ReturnType<Hosts["living"]>>[number]) => Promise<T>,
  ) {
    const chosen = await hosts.living(names);
    return { hosts: await Promise.all(chosen.map((host) => settled(host, () => ask(host)))) };
  }
  const only = (host: string | undefined) => (host === undefined ? undefined : [host]);

  app.openapi(list, async (c) => {
    const call = { method: "GET", path: "/images", signal: c.req.raw.signal } as const;
    const ask = askEach(only(c.req.valid("query").host), async (host) => ({
      images: await hosts.ask(host, z.array(ImageInfo), call),
    }));
    return c.json(await ask, 200);
  });

  app.openapi(usage, async (c) => {
    const call = { method: "GET", path: "/images/usage", signal: c.req.raw.signal } as const;
    const ask = askEach(only(c.req.valid("query").host), async (host) => ({
      usage: await hosts.ask(host, ImageUsage, call),
    }));
    return c.json(await ask, 200);
  });

  app.openapi(inspect, async (c) => {
    const { host, reference } = c.req.valid("query");
    const path = `/images/inspect?${new URLSearchParams({ reference })}`;
    const call = { method: "GET", path, signal: c.req.raw.signal } as const;
    const ask = askEach(only(host), async (each) => ({ image: await hosts.ask(each, ImageInspection, call) }));
    return c.json(await ask, 200);
  });

  app.openapi(remove, async (c) => {
    const { host, reference } = c.req.valid("query");
    const path = `/images?${new URLSearchParams({ reference })}`;
    const call = { method: "DELETE", path, signal: c.req.raw.signal, answerMs: WORK_MS } as const;
    const ask = askEach(only(host), async (each) => ({ reclaimed: await hosts.ask(each, Reclaimed, call) }));
    return c.json(await ask, 200);
  });

  app.openapi(pin, async (c) => {
    const { hosts: names, reference, pinned } = c.req.valid("json");
    const call = {
      method: "POST",
      path: "/images/pin",
      json: { reference, pinned },
      signal: c.req.raw.signal,
    } as const;
    const ask = askEach(names, async (host) => ({ pinned: await hosts.ask(host, z.boolean(), call) }));
    return c.json(await ask, 200);
  });

  app.openapi(prune, async (c) => {
    const { hosts: names, unusedFor } = c.req.valid("json");
    const request = { unusedForMs: parseDuration(unusedFor) };
    const call = { method: "POST", path: "/images/prune", json: request, signal: c.req.raw.signal } as const;
    const ask = askEach(names, async (host) => ({
      reclaimed: await hosts.ask(host, Reclaimed, { ...call, answerMs: WORK_MS }),
    }));
    return c.json(await ask, 200);
  });
}
