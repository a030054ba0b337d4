// POST /v1/run/{image}: bytes in, bytes out. The body is the program's stdin, the answer is its stdout.
//
// A short body is part of the record from the start; of a longer one each piece is handed on as it comes, so that the program may
// begin before the last has come. What becomes of an outcome is told in `STATUS_OF`.

import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { BOUNDS, type RunRequest } from "../../core/request.ts";
import { type Outcome, Run } from "../../core/run.ts";
import { serverTiming, toRun } from "../answer.ts";
import type { GatewayEnv } from "../context.ts";
import type { Answer, Dispatcher } from "../dispatch/dispatcher.ts";
import { limited, RAW_PATH } from "../middleware/limit-body.ts";
import { addTiming } from "../middleware/wide-event.ts";
import { parseWait } from "../prefer.ts";
import { answerProblem, toProblem } from "../problem.ts";
import { parseRawRun, RawQuery } from "../raw-run.ts";
import { FAILURES, json, problem } from "./schemas.ts";

type App = OpenAPIHono<GatewayEnv>;
type Bytes = AsyncIterator<Uint8Array, void>;

/** As much of a body is read before the run is made. One that is no longer costs one step of Redis, as any other run does. */
const WHOLE_BYTES = 64 * 1024;

/** An answer that is not 200 is what `curl -f` fails on. The program's own failures are none of 5xx, which proxies try again. */
const STATUS_OF: Readonly<Record<Exclude<Outcome["kind"], "rejected">, ContentfulStatusCode>> = {
  exited: 422,
  signaled: 422,
  oom_killed: 422,
  cancelled: 409,
  timed_out: 504,
  lost: 502,
};

const raw = z.string().meta({ format: "binary" });
const bytes = (description: string) => ({ description, content: { "application/octet-stream": { schema: raw } } });

const HEAD = [
  "The head has `Location`, `Mayfly-Run-Id`, `Mayfly-Outcome` (the outcome's kind), `Mayfly-Exit-Code` or `Mayfly-Signal`,",
  "and `Mayfly-Stdout-Truncated: BYTES` (how many there were) if limits.output left some out of the middle.",
].join(" ");

const DOCUMENT = {
  method: "post",
  path: `${RAW_PATH}{image}`,
  summary: "Run an image with the body as its stdin, and answer with its stdout",
  description: `The image's reference stands in the path as it is, slashes and all. ${HEAD}`,
  request: {
    params: z.object({ image: z.string().meta({ description: "[registry/]name[:tag][@digest]", example: "busybox" }) }),
    query: RawQuery,
    headers: z.object({
      prefer: z
        .string()
        .optional()
        .meta({
          description: `\`wait=SECONDS\`: answer 202 if the run takes longer; ${BOUNDS.waitSeconds.max} s without it. \`respond-async\`: at once.`,
        }),
    }),
    body: {
      required: false,
      content: { "application/octet-stream": { schema: raw } },
      description: "At most MAYFLY_MAX_STDIN.",
    },
  },
  responses: {
    200: bytes("The program's stdout; it exited 0."),
    202: json(Run, "The run goes on; `Location` is where it is to be found."),
    ...FAILURES,
    404: problem("The run was rejected: there is no such image. Other rejections have the status of their reason."),
    409: bytes("The run was cancelled. What there is of stdout."),
    413: problem("The body is over the limit. The run was cancelled, if it had begun."),
    422: bytes("The program exited with another code than 0, by a signal, or for want of memory. Its stdout."),
    429: problem(
      "The queue is full, the tenant has its share, or this gateway holds as many waiting requests as it may.",
    ),
    502: bytes("The run was lost with its host. What there is of stdout."),
    504: bytes("A clock of the run's ran out. What there is of stdout."),
  },
} as const;

export function registerRaw(app: App, dispatcher: Dispatcher, maxStdinBytes: number): void {
  const { store } = dispatcher;
  app.openAPIRegistry.registerPath(DOCUMENT);

  app.post(`${RAW_PATH}:image{.+}`, async (c) => {
    const waitSeconds = waitOf(c);
    const request = parseRawRun(c.req.param("image"), new URL(c.req.url).searchParams);
    const body = limited(c.req.raw.body, maxStdinBytes);
    const first = await readWhole(body);
    const wait = { waitMs: waitSeconds * 1000, signal: c.req.raw.signal };
    const tenant = c.get("tenant");
    if (first.complete) {
      const stdin = first.bytes.length === 0 ? {} : { stdin: { base64: first.bytes.toString("base64") } };
      return present(c, await dispatcher.submit({ ...request, ...stdin }, tenant, wait));
    }
    const id = await begin(request, tenant, first.bytes, body);
    return present(c, await dispatcher.await(id, tenant, wait));
  });

  /** Makes the run, and hands it its input. If that breaks off, the program would take a part for the whole: the run is cancelled. */
  async function begin(request: RunRequest, tenant: string, first: Buffer, rest: Bytes): Promise<string> {
    const never = { waitMs: 0, signal: new AbortController().signal };
    const { record } = await dispatcher.submit({ ...request, stdin: { stream: true } }, tenant, never);
    try {
      let reads = await feed(record.id, first, false);
      for (let next = await rest.next(); !next.done; next = await rest.next())
        // What the program will never read is read here all the same: a caller who sends does not hear the answer before.
        if (reads) reads = await feed(record.id, Buffer.from(next.value), false);
      if (reads) await feed(record.id, Buffer.alloc(0), true);
      return record.id;
    } catch (error) {
      await store.cancel(record).catch(() => {}); // Redis is away: then the run's own clocks end it.
      throw error;
    }
  }

  /** False if the run takes no more. */
  async function feed(id: string, piece: Buffer, last: boolean): Promise<boolean> {
    try {
      await store.feed(id, piece, last);
      return true;
    } catch (error) {
      if (isMayflyError(error) && error.reason === "stdin_closed") return false;
      throw error;
    }
  }
}

function waitOf(c: Context): number {
  if (c.req.header("idempotency-key") !== undefined)
    throw new MayflyError(
      "invalid_field",
      "Idempotency-Key is not taken here: a body that comes in pieces is not compared",
      {
        details: { field: "Idempotency-Key" },
      },
    );
  const prefer = c.req.header("prefer");
  return prefer === undefined ? BOUNDS.waitSeconds.max : parseWait(prefer);
}

async function readWhole(body: Bytes): Promise<{ bytes: Buffer; complete: boolean }> {
  const pieces: Uint8Array[] = [];
  for (let length = 0; length <= WHOLE_BYTES; ) {
    const next = await body.next();
    if (next.done) return { bytes: Buffer.concat(pieces), complete: true };
    pieces.push(next.value);
    length += next.value.length;
  }
  return { bytes: Buffer.concat(pieces), complete: false };
}

function present(c: Context<GatewayEnv>, { record, kept }: Answer): Response {
  const { outcome } = record;
  c.set("run", record.id);
  addTiming(c, serverTiming(record));
  c.header("location", `/v1/runs/${record.id}`);
  c.header("mayfly-run-id", record.id);
  if (!outcome || !kept) return c.json(toRun(record), 202);
  c.header("mayfly-outcome", outcome.kind);
  if (outcome.kind === "rejected") return answerProblem(c, toProblem(new MayflyError(outcome.code, outcome.message)));
  if ("exitCode" in outcome) c.header("mayfly-exit-code", String(outcome.exitCode));
  if (outcome.kind === "signaled") c.header("mayfly-signal", outcome.signal);
  if (record.stdout?.truncated) c.header("mayfly-stdout-truncated", String(record.stdout.bytesSeen));
  const status = outcome.kind === "exited" && outcome.exitCode === 0 ? 200 : STATUS_OF[outcome.kind];
  // nosniff: what a program writes is never for a browser to run.
  return c.body(new Uint8Array(kept.stdout), status, {
    "content-type": "application/octet-stream",
    "x-content-type-options": "nosniff",
  });
}
