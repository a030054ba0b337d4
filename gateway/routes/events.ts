// GET /v1/runs/{id}/events: a run as it happens, as server-sent events that can be resumed at a byte.
//
// The id of an output event is `ATTEMPT.STDOUT.STDERR`: how far its reader has come. A reader that comes back with it as
// Last-Event-ID goes on there. The last event is always `end`.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { streamSSE, stream as streamText } from "hono/streaming";
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
  "15 s. An id that cannot be read, or one of an attempt that is over, starts the present attempt from its beginning. With `Accept: application/x-ndjson`",
  "each is a line of JSON: `event`, its `id` if it has one, and `data`; an empty line comes instead of a comment.",
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
      content: { "text/event-stream": { schema: z.string() }, "application/x-ndjson": { schema: z.string() } },
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
    const work = async (sink: Sink, onAbort: (gone: () => void) => void) => {
      onAbort(() => gone.abort());
      try {
        // Each write waits until the reader has room: one that stops holds a piece of output, and nothing behind it is read.
        for await (const event of happenings) await sink(toMessage(event));
      } catch (error) {
        log.warn("follow.failed", { run: id, error }); // The reader sees the stream end without `end`, and resumes.
      }
    };
    if (wantsLines(c.req.header("accept"))) {
      c.header("content-type", "application/x-ndjson");
      return streamText(c, async (stream) => {
        const line = ({ data, ...head }: Message) =>
          stream.write(`${JSON.stringify(head).slice(0, -1)},"data":${data}}\n`);
        await whileAlive(stream, "\n", () => work(line, (gone) => stream.onAbort(gone)));
      });
    }
    return streamSSE(c, (stream) =>
      whileAlive(stream, ": keep-alive\n\n", () =>
        work(
          (message) => stream.writeSSE(message),
          (gone) => stream.onAbort(gone),
        ),
      ),
    );
  });
}

interface Message {
  readonly event: string;
  readonly id?: string;
  readonly data: string;
}

type Sink = (message: Message) => Promise<unknown>;

/** Says so now and then, but not to a reader that has not read what was said before: that would pile up. */
async function whileAlive(
  stream: { write(text: string): Promise<unknown> },
  word: string,
  work: () => Promise<void>,
): Promise<void> {
  let isHeard = true;
  const timer = setInterval(() => {
    if (!isHeard) return;
    isHeard = false;
    void stream.write(word).then(() => {
      isHeard = true;
    });
  }, KEEP_ALIVE_MS);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
}

/** Only who names it is given lines: `*` gets what everybody got before there were any. */
function wantsLines(accept: string | undefined): boolean {
  return (
    accept?.split(",").some((each) => each.split(";")[0]?.trim().toLowerCase() === "application/x-ndjson") ?? false
  );
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

function toMessage(event: RunEvent): Message {
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
