// GET /v1/runs/{id}/events: a run as it happens, as server-sent events that can be resumed at a byte.
//
// The id of an output event is `ATTEMPT.STDOUT.STDERR`: how far its reader has come. A reader that comes back with it as
// Last-Event-ID goes on there. The last event is always `end`.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { streamSSE } from "hono/streaming";
import type { Log } from "../../core/log.ts";
import type { RunRecord } from "../../core/record.ts";
import { toRun } from "../answer.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher, Position, RunEvent } from "../dispatch/dispatcher.ts";
import { FAILURES, NOT_FOUND, problem, RunParams } from "./schemas.ts";

/** Proxies close connections that are silent; a comment this often is less than any common limit. */
const KEEP_ALIVE_MS = 15_000;

const EVENTS = [
  "Events, each with JSON data: `state` {state, attempt}; `progress`, the run's `pulling`, while its host fetches the image;",
  "`stdout` and `stderr` {offset, base64}, with the id ATTEMPT.STDOUT.STDERR; and, last, `end`: the run, with the facts of its output but not the output. A comment comes every",
  "15 s. An id that cannot be read, or one of an attempt that is over, starts the present attempt from its beginning.",
].join(" ");

const events = createRoute({
  method: "get",
  path: "/v1/runs/{id}/events",
  summary: "Follow a run: its states, its output as it comes, its end",
  request: {
    params: RunParams,
    headers: z.object({
      "last-event-id": z
        .string()
        .optional()
        .meta({ description: "ATTEMPT.STDOUT.STDERR of the last event that was seen." }),
    }),
  },
  responses: {
    200: {
      description: EVENTS,
      content: { "text/event-stream": { schema: z.string() } },
    },
    404: NOT_FOUND,
    429: problem("This gateway holds as many waiting requests as it may."),
    ...FAILURES,
  },
});

export function registerEvents(app: OpenAPIHono<GatewayEnv>, dispatcher: Dispatcher, log: Log): void {
  app.openapi(events, async (c) => {
    const { id } = c.req.valid("param");
    const tenant = c.get("tenant");
    c.set("run", id);
    await dispatcher.get(id, tenant); // A run that is not there is a 404, not an empty stream.
    const from = parsePosition(c.req.header("last-event-id"));
    const gone = new AbortController();
    const happenings = dispatcher.follow(id, tenant, from, gone.signal);
    return streamSSE(c, async (stream) => {
      stream.onAbort(() => gone.abort());
      const keepAlive = setInterval(() => void stream.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
      try {
        for await (const event of happenings) await stream.writeSSE(toMessage(event));
      } catch (error) {
        log.warn("follow.failed", { run: id, error }); // The reader sees the stream end without `end`, and resumes.
      } finally {
        clearInterval(keepAlive);
      }
    });
  });
}

/** `2.100.0`, or anything else for the beginning: a position of an attempt that is over starts the present one anew. */
export function parsePosition(text: string | undefined): Position {
  const match = /^(\d{1,9})\.(\d{1,15})\.(\d{1,15})$/.exec(text ?? "");
  if (!match) return { attempt: 1, stdout: 0, stderr: 0 };
  return { attempt: Number(match[1]), stdout: Number(match[2]), stderr: Number(match[3]) };
}

/** The run with what is known of its output, but not the output again. */
function toEnd(record: RunRecord): object {
  const { stdout, stderr } = record;
  return { ...toRun(record), stdout, stderr };
}

function toMessage(event: RunEvent): { event: string; data: string; id?: string } {
  switch (event.kind) {
    case "state":
      return { event: "state", data: JSON.stringify({ state: event.record.state, attempt: event.record.attempt }) };
    case "progress":
      return { event: "progress", data: JSON.stringify(event.pulling) };
    case "end":
      return { event: "end", data: JSON.stringify(toEnd(event.record)) };
    default: {
      const { attempt, stdout, stderr } = event.after;
      const data = JSON.stringify({ offset: event.offset, base64: event.bytes.toString("base64") });
      return { event: event.kind, data, id: `${attempt}.${stdout}.${stderr}` };
    }
  }
}
