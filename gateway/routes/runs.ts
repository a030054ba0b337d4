// /v1/runs: the handlers parse, call, and answer. What a run is and does lies behind the dispatcher.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { RunRequest } from "../../core/request.ts";
import { Run } from "../../core/run.ts";
import { serverTiming, toRun } from "../answer.ts";
import type { GatewayEnv } from "../context.ts";
import type { Answer, Dispatcher } from "../dispatch/dispatcher.ts";
import { addTiming } from "../middleware/wide-event.ts";
import { parseWait } from "../prefer.ts";
import type { Destinations } from "../webhooks/destinations.ts";
import { CancelQuery, FAILURES, json, NOT_FOUND, problem, RunParams, StdinQuery } from "./schemas.ts";

type App = OpenAPIHono<GatewayEnv>;
type GatewayContext = Context<GatewayEnv>;

const Prefer = z.object({
  prefer: z.string().optional().meta({
    description: "`wait=SECONDS` (RFC 7240): answer once the run has finished, or after that time, at most 300 s.",
    example: "wait=30",
  }),
});

const Submitting = Prefer.extend({
  "idempotency-key": z.string().min(1).max(255).optional().meta({
    description:
      "The caller's own name for this call. For 24 h the same key with the same body answers with the same run; with another body, 409.",
    example: "7f2c9a52-order-17",
  }),
});

const submit = createRoute({
  method: "post",
  path: "/v1/runs",
  summary: "Run a command in a fresh container",
  request: { headers: Submitting, body: { required: true, content: { "application/json": { schema: RunRequest } } } },
  responses: {
    200: json(Run, "The run has finished."),
    202: json(Run, "The run is accepted; `Location` is where it is to be found."),
    413: problem("The body, or the stdin in it, is over the limit."),
    415: problem("The body is not application/json."),
    409: problem("The idempotency key was used for another request, or no host of the pool could ever hold the run."),
    429: problem(
      "The queue is full, the tenant has its share, or this gateway holds as many waiting requests as it may.",
    ),
    ...FAILURES,
  },
});

const get = createRoute({
  method: "get",
  path: "/v1/runs/{id}",
  summary: "One run, with its output once it has finished",
  request: { params: RunParams, headers: Prefer },
  responses: { 200: json(Run, "The run as it is, or as it was when the wait was over."), 404: NOT_FOUND, ...FAILURES },
});

const cancel = createRoute({
  method: "post",
  path: "/v1/runs/{id}/cancel",
  summary: "End a run: at once while it waits, else by SIGTERM and, after its grace, SIGKILL",
  request: { params: RunParams, query: CancelQuery },
  responses: {
    200: json(Run, "The run has finished."),
    202: json(Run, "Its host has been asked."),
    404: NOT_FOUND,
    ...FAILURES,
  },
});

const stdin = createRoute({
  method: "post",
  path: "/v1/runs/{id}/stdin",
  summary: "More input for a run that was made with `stdin: {stream: true}`",
  request: {
    params: RunParams,
    query: StdinQuery,
    body: {
      required: false,
      content: { "application/octet-stream": { schema: z.string().meta({ format: "binary" }) } },
    },
  },
  responses: {
    204: { description: "The bytes are stored; the program will read them." },
    404: NOT_FOUND,
    409: problem("The run takes no more input."),
    413: problem("The run's input is over the limit."),
    ...FAILURES,
  },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/runs/{id}",
  summary: "Forget a finished run, and its output with it",
  request: { params: RunParams },
  responses: {
    204: { description: "Nothing of it is left." },
    404: NOT_FOUND,
    409: problem("The run has not finished."),
    ...FAILURES,
  },
});

export function registerRuns(app: App, dispatcher: Dispatcher, destinations: Destinations): void {
  const { store } = dispatcher;

  app.openapi(submit, async (c) => {
    const wait = parseWait(c.req.header("prefer"));
    destinations.admit(c.req.valid("json").webhook);
    const { "idempotency-key": key } = c.req.valid("header");
    const waiting = { waitMs: wait * 1000, signal: c.req.raw.signal, trace: c.get("span").context };
    const answer = await dispatcher.submit(c.req.valid("json"), c.get("tenant"), waiting, key);
    const { record } = answer;
    c.header("location", `/v1/runs/${record.id}`);
    if (wait > 0) c.header("preference-applied", `wait=${wait}`);
    return c.json(present(c, answer), record.state === "finished" ? 200 : 202);
  });

  app.openapi(get, async (c) => {
    const waitMs = parseWait(c.req.header("prefer")) * 1000;
    const answer = await dispatcher.await(c.req.valid("param").id, c.get("tenant"), {
      waitMs,
      signal: c.req.raw.signal,
    });
    const waiting = answer.record.state === "queued" ? await store.why(answer.record) : undefined;
    return c.json({ ...present(c, answer), ...(waiting ? { waiting } : {}) }, 200);
  });

  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid("param");
    const isForced = c.req.valid("query").force === "true";
    await store.cancel(await dispatcher.get(id, c.get("tenant")), { isForced });
    const answer = await dispatcher.await(id, c.get("tenant"), { waitMs: 0, signal: c.req.raw.signal });
    return c.json(present(c, answer), answer.record.state === "finished" ? 200 : 202);
  });

  app.openapi(stdin, async (c) => {
    const { id } = c.req.valid("param");
    await dispatcher.get(id, c.get("tenant"));
    await store.feed(id, Buffer.from(await c.req.arrayBuffer()), c.req.valid("query").close === "true");
    c.set("run", id);
    return c.body(null, 204);
  });

  app.openapi(remove, async (c) => {
    const { id } = c.req.valid("param");
    c.set("run", id);
    await store.kept.remove(await dispatcher.get(id, c.get("tenant")));
    return c.body(null, 204);
  });

  function present(c: GatewayContext, { record, kept }: Answer): Run {
    c.set("run", record.id);
    addTiming(c, serverTiming(record));
    return toRun(record, record.state === "finished" ? kept : undefined);
  }
}
