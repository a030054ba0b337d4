// /v1/batches: many runs at once, sent and answered line by line.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Batch, BatchFinished, BatchPage, BatchRequest } from "../../core/batch.ts";
import { MayflyError } from "../../core/errors.ts";
import { BATCH_ID_PATTERN } from "../../core/ids.ts";
import type { Log } from "../../core/log.ts";
import type { Batches } from "../batches/batches.ts";
import { openBatch, parseHeader, peek, type Target, takeIn } from "../batches/intake.ts";
import { type Line, readLineGroups } from "../batches/lines.ts";
import { LINES_TYPE, linesOf } from "../batches/ndjson.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { isLines } from "../middleware/limit-body.ts";
import { BatchParams, ItemsQuery, OptionsQuery, optionsOf, ResultsQuery } from "./batch-schemas.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

const lines = { [LINES_TYPE]: { schema: z.string() } };
const NOT_FOUND = problem("There is no such batch, or it is another tenant's.");
const BUSY = problem("The tenant has as many unfinished batches as it may, or this gateway as many requests.");
const ACKS =
  "Lines of JSON while the body is read: {batch, line, accepted}; {line, accepted} after each step, when all lines to this one are safe; {malformed, message} for a line that cannot be read; last {end}, the batch, or {error}, a problem.";
const Key = z.object({
  "idempotency-key": z.string().min(1).max(255).optional().meta({
    description:
      "The caller's own name for this batch. For 24 h the same key goes on with the same batch: lines that it has are passed over.",
  }),
});
const WaitPreference = z.object({ prefer: z.string().optional().meta({ description: "`wait`: as `follow=true`." }) });

const create = createRoute({
  method: "post",
  path: "/v1/batches",
  summary: "Many runs at once: a line of JSON each, or a template and its inputs",
  request: {
    query: OptionsQuery,
    headers: Key,
    body: { required: false, content: { ...lines, "application/json": { schema: BatchRequest } } },
  },
  responses: {
    200: { description: ACKS, content: lines },
    415: problem(`The body is neither ${LINES_TYPE} nor application/json.`),
    429: BUSY,
    ...FAILURES,
  },
});

const items = createRoute({
  method: "post",
  path: "/v1/batches/{id}/items",
  summary: "More lines of a batch, from one that was acknowledged on",
  request: { params: BatchParams, query: ItemsQuery, body: { required: false, content: lines } },
  responses: {
    200: { description: ACKS, content: lines },
    404: NOT_FOUND,
    409: problem("The batch takes no more items, or has as many as it may."),
    415: problem(`The body is not ${LINES_TYPE}.`),
    429: BUSY,
    ...FAILURES,
  },
});

const list = createRoute({
  method: "get",
  path: "/v1/batches",
  summary: "List batches, the newest first",
  request: { query: page(BATCH_ID_PATTERN) },
  responses: { 200: json(BatchPage, "One page."), ...FAILURES },
});

const get = createRoute({
  method: "get",
  path: "/v1/batches/{id}",
  summary: "One batch: how far it is",
  request: { params: BatchParams },
  responses: { 200: json(Batch, "As it is now."), 404: NOT_FOUND, ...FAILURES },
});

const act = (verb: "pause" | "resume" | "cancel", summary: string) =>
  createRoute({
    method: "post",
    path: `/v1/batches/{id}/${verb}` as const,
    summary,
    request: { params: BatchParams },
    responses: { 200: json(Batch, "As it is now."), 404: NOT_FOUND, ...FAILURES },
  });
const pause = act("pause", "Feed no more items into the queue; those in it go on");
const resume = act("resume", "Feed its items again");
const cancel = act("cancel", "End a batch: what waits is cancelled, what runs is ended as a run is by its cancel");

const results = createRoute({
  method: "get",
  path: "/v1/batches/{id}/results",
  summary: "What came of a batch's items, a line of JSON each",
  request: { params: BatchParams, query: ResultsQuery, headers: WaitPreference },
  responses: {
    200: { description: "BatchResult as lines; an empty line every 15 s where nothing comes.", content: lines },
    404: NOT_FOUND,
    429: BUSY,
    ...FAILURES,
  },
});

export function registerBatches(
  app: OpenAPIHono<GatewayEnv>,
  { batches, dispatcher, log }: { batches: Batches; dispatcher: Dispatcher; log: Log },
): void {
  const { store, rules } = batches;
  const bodyOf = (c: Context<GatewayEnv>, after: number) =>
    readLineGroups(c.req.raw.body ?? NOTHING, { after, maxBytes: rules.maxLineBytes });
  const answer = (c: Context<GatewayEnv>, values: AsyncGenerator<unknown, void>, end: () => void) =>
    // By its name the type is taken for JSON's, and the answer would have to be an object.
    c.body(linesOf(values, { end, log }), 200, { "content-type": LINES_TYPE, "x-accel-buffering": "no" }) as never;

  app.openapi(create, async (c) => {
    const tenant = c.get("tenant");
    const query = c.req.valid("query");
    const leave = batches.enter();
    try {
      const { options, groups } = isLines(c)
        ? await fromLines(bodyOf(c, 0))
        : fromTemplate(c.req.valid("json") as Partial<BatchRequest>);
      const all = { ...optionsOf(query), ...options };
      if (all.template) await dispatcher.admit(all.template, tenant);
      const id = await openBatch(
        batches,
        { tenant, options: all, headLines: groups.after },
        c.req.valid("header")["idempotency-key"],
      );
      c.header("location", `/v1/batches/${id}`);
      const target = { id, tenant, after: groups.after, close: query.close === "true" };
      return answer(c, withHead(target, takeIn(batches, target, groups.lines)), leave);
    } catch (error) {
      leave();
      throw error;
    }
  });

  app.openapi(items, async (c) => {
    const { id } = c.req.valid("param");
    const { from, close } = c.req.valid("query");
    const tenant = c.get("tenant");
    if (!isLines(c)) throw new MayflyError("unsupported_media_type", `Content-Type must be ${LINES_TYPE}`);
    await store.get(id, tenant);
    const target = { id, tenant, after: from, close: close === "true" };
    return answer(c, withHead(target, takeIn(batches, target, bodyOf(c, from))), batches.enter());
  });

  app.openapi(list, async (c) => {
    const { batches: found, next } = await store.list(c.get("tenant"), c.req.valid("query"));
    return c.json({ batches: found, ...(next ? { next } : {}) }, 200);
  });

  app.openapi(get, async (c) => {
    const { batch } = await store.get(c.req.valid("param").id, c.get("tenant"));
    return c.json(batch, 200);
  });

  for (const route of [pause, resume, cancel]) {
    app.openapi(route, async (c) => {
      const { id } = c.req.valid("param");
      await store.get(id, c.get("tenant"));
      await store.control(id, route.path.split("/").at(-1) as "pause" | "resume" | "cancel");
      return c.json((await store.get(id, c.get("tenant"))).batch, 200);
    });
  }

  app.openapi(results, async (c) => {
    const { id } = c.req.valid("param");
    const { order, from, output: outputBytes, follow } = c.req.valid("query");
    await store.get(id, c.get("tenant"));
    const leave = batches.enter();
    const gone = new AbortController();
    const isFollowed = follow === "true" || /(^|,)\s*wait\b/i.test(c.req.header("prefer") ?? "");
    const found = batches.results(id, c.get("tenant"), {
      order,
      from,
      outputBytes,
      follow: isFollowed,
      signal: gone.signal,
    });
    return answer(c, found, () => {
      gone.abort();
      leave();
    });
  });

  app.openAPIRegistry.registerWebhook({
    method: "post",
    path: "batch.finished",
    summary: "Sent to the URL of a batch's `webhook`, as `run.finished` is",
    request: { body: { content: { "application/json": { schema: BatchFinished } } } },
    responses: { "2XX": { description: "It has been taken, and is not sent again." } },
  });

  /** The first line tells which batch it is and how much of it is there. */
  async function* withHead(target: Target, acks: AsyncGenerator<unknown, void>): AsyncGenerator<unknown, void> {
    const { batch } = await store.get(target.id, target.tenant);
    yield { batch: target.id, line: batch.lines, accepted: batch.counts.total };
    yield* acks;
  }
}

interface Input {
  readonly options: ReturnType<typeof parseHeader>;
  readonly groups: { readonly after: number; readonly lines: AsyncIterable<readonly Line[]> };
}

async function fromLines(groups: AsyncGenerator<Line[], void>): Promise<Input> {
  const { first, all } = await peek(groups);
  const options = first && parseHeader(first);
  if (!options) return { options, groups: { after: 0, lines: all } };
  return { options, groups: { after: 1, lines: withoutFirst(all) } };
}

async function* withoutFirst(groups: AsyncIterable<readonly Line[]>): AsyncGenerator<readonly Line[]> {
  let isFirst = true;
  for await (const group of groups) {
    const rest = isFirst ? group.slice(1) : group;
    isFirst = false;
    if (rest.length > 0) yield rest;
  }
}

/** Its inputs are lines as well, as if each stood on one, after a first with the rest. */
function fromTemplate({ inputs = [], ...options }: Partial<BatchRequest>): Input {
  if (options.template === undefined)
    throw new MayflyError("invalid_field", "template is required", { details: { field: "template" } });
  async function* groups() {
    yield inputs.map((input, i) => ({ number: i + 1, bytes: Buffer.from(JSON.stringify(input)) }));
  }
  return { options, groups: { after: 0, lines: groups() } };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
const NOTHING = nothing();
