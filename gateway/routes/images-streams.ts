// POST /v1/images/pull and /v1/images/verify: what hosts do to their images, as it goes on.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { Verified } from "../../core/images.ts";
import type { Log } from "../../core/log.ts";
import type { GatewayEnv } from "../context.ts";
import { type Hosts, LONG_WORK_MS, settled } from "../dispatch/hosts.ts";
import { streamWork } from "./image-events.ts";
import { body, IMAGE_FAILURES, PullImage, TOO_MANY, VerifyImages } from "./image-schemas.ts";

const events = (description: string) => ({ description, content: { "text/event-stream": { schema: z.string() } } });

const pull = createRoute({
  method: "post",
  path: "/v1/images/pull",
  summary: "Have hosts pull an image before a run needs it (operators)",
  request: body(PullImage),
  responses: {
    200: events(
      "Events, each with JSON data: first `hosts` {hosts}, the names of all that pull; then of each `layer` {host, digest, state, bytes, size} as it goes on, and once `ready` {host, reference, digest, layers} or `failed` {host, reason, message}; last `end`. A comment comes every 15 s. Whoever closes the stream ends the pulls that nobody else waits for.",
    ),
    429: TOO_MANY,
    ...IMAGE_FAILURES,
  },
});

const verify = createRoute({
  method: "post",
  path: "/v1/images/verify",
  summary: "Have hosts read their images again, and repair them (operators)",
  request: body(VerifyImages),
  responses: {
    200: events(
      "Events, each with JSON data: first `hosts` {hosts}; then of each, once it is done, `host` {host, verified} or {host, error}; last `end`. A comment comes every 15 s.",
    ),
    429: TOO_MANY,
    ...IMAGE_FAILURES,
  },
});

export function registerImageStreams(app: OpenAPIHono<GatewayEnv>, hosts: Hosts, log: Log): void {
  app.openapi(pull, async (c) => {
    const { hosts: names, ...request } = c.req.valid("json");
    const chosen = await hosts.living(names);
    return streamWork(c, { hosts, log }, async (tell, signal) => {
      await tell("hosts", { hosts: chosen.map(({ id }) => id) });
      await Promise.all(
        chosen.map(async (host) => {
          for await (const event of hosts.pull(host, request, signal)) await tell(event.kind, event);
        }),
      );
    });
  });

  app.openapi(verify, async (c) => {
    const { hosts: names, ...request } = c.req.valid("json");
    const chosen = await hosts.living(names);
    return streamWork(c, { hosts, log }, async (tell, signal) => {
      await tell("hosts", { hosts: chosen.map(({ id }) => id) });
      const call = { method: "POST", path: "/images/verify", json: request, signal, answerMs: LONG_WORK_MS } as const;
      await Promise.all(
        chosen.map(async (host) =>
          tell("host", await settled(host, async () => ({ verified: await hosts.ask(host, Verified, call) }))),
        ),
      );
    });
  });
}
