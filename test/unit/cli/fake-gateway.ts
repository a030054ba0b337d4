// A gateway in this process that speaks the HTTP API without Redis or containers. A test scripts what its runs do, and
// how its connections misbehave, and reads what it was sent.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { newRunId } from "../../../core/ids.ts";
import type { RunRequest } from "../../../core/request.ts";
import type { Outcome } from "../../../core/run.ts";

/** One thing that a run does, in the order of its script. */
export type Step =
  | { stdout: string | Buffer }
  | { stderr: string | Buffer }
  /** The host is lost: the next attempt starts with empty output. */
  | "retry"
  /** Waits until the run's stdin is closed. */
  | "eof"
  /** Waits until the run is cancelled, and then ends so. */
  | "until cancelled"
  | { end: Outcome };

export interface FakeRun {
  readonly id: string;
  readonly request: RunRequest;
  attempt: number;
  state: "queued" | "running" | "finished";
  stdout: Buffer;
  stderr: Buffer;
  stdin: Buffer[];
  stdinClosed: boolean;
  cancelled: boolean;
  /** What it was told by resize and signal. */
  readonly told: unknown[];
  outcome: Outcome | undefined;
  readonly facts: { stdout?: { bytesSeen: number }; stderr?: { bytesSeen: number } };
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: number;
}

/** Answers a request instead of the fake, if it returns true. `count` is how often this method and route have been asked for, from 1. */
export type Interceptor = (seen: Seen, response: ServerResponse, count: number) => boolean | undefined;

/** Answers every request that it is shown in this way. */
export const instead =
  (answer: (response: ServerResponse) => void): Interceptor =>
  (_, response) => {
    answer(response);
    return true;
  };

export interface FakeOptions {
  readonly script?: (request: RunRequest) => readonly Step[];
  readonly intercept?: Interceptor;
  /** Cuts the connection after so many bytes of each event stream's body; the n-th stream has the n-th number. */
  readonly cutEventsAfter?: readonly number[];
  /** Sends events again that the client has told it has, from so many bytes before. */
  readonly repeatBytes?: number;
  /** Bytes of output in one event. */
  readonly eventBytes?: number;
  /** The end event says how much was left out, or leaves that to the run. */
  readonly tellsFactsAtEnd?: boolean;
}

export class FakeGateway {
  readonly runs = new Map<string, FakeRun>();
  readonly seen: Seen[] = [];
  /** Once it listens. */
  url = "";
  /** Event streams whose client is still there. */
  openStreams = 0;
  /** How often an event stream had to wait for its reader. */
  stalls = 0;
  readonly #options: FakeOptions;
  readonly #server: Server;
  readonly #counts = new Map<string, number>();
  #listeners: (() => void)[] = [];
  #streams = 0;

  constructor(options: FakeOptions = {}) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error) => response.destroy(error));
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  /** The only run; most tests have one. */
  get run(): FakeRun {
    const [run] = this.runs.values();
    if (!run) throw new Error("no run was made");
    return run;
  }

  requests(method: string, path: RegExp): Seen[] {
    return this.seen.filter((seen) => seen.method === method && path.test(seen.path));
  }

  /** Resolves as soon as the condition holds; looks again whenever anything happens here. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#listeners.push(resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** To be called when a test has changed a run by its own hand. */
  wake(): void {
    this.#changed();
  }

  addRun(request: RunRequest, script: readonly Step[] = []): FakeRun {
    const run: FakeRun = {
      id: newRunId(Date.now() + this.runs.size),
      request,
      attempt: 1,
      state: "queued",
      stdout: Buffer.alloc(0),
      stderr: Buffer.alloc(0),
      stdin: [],
      stdinClosed: false,
      cancelled: false,
      told: [],
      outcome: undefined,
      facts: {},
    };
    this.runs.set(run.id, run);
    void this.#perform(run, script);
    return run;
  }

  async #perform(run: FakeRun, script: readonly Step[]): Promise<void> {
    if (script.length > 0) run.state = "running";
    for (const step of script) {
      if (step === "eof") await this.until(() => run.stdinClosed || run.cancelled);
      else if (step === "until cancelled") await this.until(() => run.cancelled);
      else if (step === "retry")
        Object.assign(run, { attempt: run.attempt + 1, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) });
      else if ("stdout" in step) run.stdout = Buffer.concat([run.stdout, Buffer.from(step.stdout)]);
      else if ("stderr" in step) run.stderr = Buffer.concat([run.stderr, Buffer.from(step.stderr)]);
      else this.finish(run, step.end);
      this.#changed();
      // Watchers get to see each step by itself.
      await new Promise((resolve) => setImmediate(resolve));
      if (run.cancelled) break;
    }
    if (run.cancelled) this.finish(run, { kind: "cancelled" });
  }

  finish(run: FakeRun, outcome: Outcome): void {
    if (run.outcome) return;
    Object.assign(run, { outcome, state: "finished", stdinClosed: true });
    this.#changed();
  }

  #changed(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readAll(request);
    const url = new URL(request.url ?? "/", "http://fake");
    const method = request.method ?? "";
    const seen: Seen = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      bytes: body.length,
    };
    this.seen.push(seen);
    this.#changed();
    const route = `${method} ${url.pathname.replace(/run_[^/]+/, "ID")}`;
    const count = (this.#counts.get(route) ?? 0) + 1;
    this.#counts.set(route, count);
    if (!this.#options.intercept?.(seen, response, count)) await this.#route(route, seen, { body, response });
    this.#changed();
  }

  async #route(
    route: string,
    seen: Seen,
    { body, response }: { body: Buffer; response: ServerResponse },
  ): Promise<void> {
    if (route === "POST /v1/runs") {
      const parsed: RunRequest = JSON.parse(body.toString());
      const run = this.addRun(parsed, this.#options.script?.(parsed) ?? [{ end: { kind: "exited", exitCode: 0 } }]);
      return json(response, 202, this.view(run));
    }
    if (route === "GET /v1/runs") return this.#list(seen, response);
    const run = this.runs.get(/run_[^/]+/.exec(seen.path)?.[0] ?? "");
    if (!run)
      return problem(response, 404, { code: "not_found", reason: "run_not_found", detail: "there is no such run" });
    if (route === "GET /v1/runs/ID") return this.#get(run, seen, response);
    if (route === "POST /v1/runs/ID/cancel") {
      run.cancelled = true;
      return json(response, 202, this.view(run));
    }
    if (route === "POST /v1/runs/ID/resize" || route === "POST /v1/runs/ID/signal") {
      run.told.push(JSON.parse(body.toString()));
      return void response.writeHead(route.endsWith("resize") ? 204 : 202).end();
    }
    if (route === "POST /v1/runs/ID/stdin") return this.#feed(run, seen, { body, response });
    if (route === "GET /v1/runs/ID/output/stdout") return raw(response, run.stdout);
    if (route === "GET /v1/runs/ID/output/stderr") return raw(response, run.stderr);
    if (route === "GET /v1/runs/ID/events") return this.#events(run, seen, response);
    return problem(response, 404, { code: "not_found", reason: "route_not_found", detail: "there is no such route" });
  }

  async #get(run: FakeRun, seen: Seen, response: ServerResponse): Promise<void> {
    if (seen.headers.prefer !== undefined) await this.until(() => run.state === "finished");
    json(response, 200, this.view(run));
  }

  #list(seen: Seen, response: ServerResponse): void {
    const state = seen.query.get("state");
    const limit = Number(seen.query.get("limit") ?? 10);
    const cursor = seen.query.get("cursor") ?? "~";
    const all = [...this.runs.values()].filter((run) => (state === null || run.state === state) && run.id < cursor);
    const page = all.sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit);
    const runs = page.map((run) => ({ ...this.view(run), stdout: undefined, stderr: undefined }));
    json(response, 200, { runs, ...(all.length > limit ? { next: page.at(-1)?.id } : {}) });
  }

  #feed(run: FakeRun, seen: Seen, { body, response }: { body: Buffer; response: ServerResponse }): void {
    if (run.stdinClosed)
      problem(response, 409, { code: "failed_precondition", reason: "stdin_closed", detail: "closed" });
    else if (body.length > 256 * 1024)
      problem(response, 413, { code: "invalid_argument", reason: "body_too_large", detail: "too much" });
    else this.#take(run, seen, { body, response });
  }

  #take(run: FakeRun, seen: Seen, { body, response }: { body: Buffer; response: ServerResponse }): void {
    run.stdin.push(body);
    if (seen.query.get("close") === "true") run.stdinClosed = true;
    response.writeHead(204).end();
  }

  async #events(run: FakeRun, seen: Seen, response: ServerResponse): Promise<void> {
    const allowance = this.#options.cutEventsAfter?.[this.#streams++] ?? Number.POSITIVE_INFINITY;
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": hello\n\n");
    this.openStreams += 1;
    response.once("close", () => {
      this.openStreams -= 1;
      this.#changed();
    });
    const back = this.#options.repeatBytes ?? 0;
    const [attempt = 0, out = 0, err = 0] = String(seen.headers["last-event-id"] ?? "")
      .split(".")
      .map(Number);
    let at = { attempt, stdout: Math.max(0, out - back), stderr: Math.max(0, err - back) };
    let sent = 0;
    let state = "";
    const send = (text: string): boolean => {
      if (response.destroyed) return false;
      const room = allowance - sent;
      sent += text.length;
      if (text.length <= room) return response.write(text) || true;
      // A cut is anywhere, so also inside an event.
      response.write(text.slice(0, room), () => response.destroy());
      return false;
    };
    for (;;) {
      if (at.attempt !== run.attempt) {
        at = { attempt: run.attempt, stdout: 0, stderr: 0 };
        state = "";
      }
      if (state !== run.state) {
        state = run.state;
        if (!send(event("state", { state, attempt: run.attempt }))) return;
        continue;
      }
      const stream = (["stdout", "stderr"] as const).find((name) => run[name].length > at[name]);
      if (stream) {
        const offset = at[stream];
        const bytes = run[stream].subarray(offset, offset + (this.#options.eventBytes ?? 65_536));
        at[stream] += bytes.length;
        const id = `${at.attempt}.${at.stdout}.${at.stderr}`;
        if (!send(event(stream, { offset, base64: bytes.toString("base64") }, id))) return;
        if (response.writableNeedDrain) await this.#drained(response);
        continue;
      }
      if (run.outcome) {
        const { id, state: ended, outcome, stdout, stderr } = this.view(run);
        const facts = this.#options.tellsFactsAtEnd
          ? { stdout: { ...stdout, data: undefined }, stderr: { ...stderr, data: undefined } }
          : {};
        if (send(event("end", { id, state: ended, outcome, ...facts }))) response.end();
        return;
      }
      const before = run.stdout.length + run.stderr.length;
      const { state: stateBefore, attempt: attemptBefore } = run;
      const hasChanged = () =>
        run.stdout.length + run.stderr.length !== before || run.state !== stateBefore || run.attempt !== attemptBefore;
      await this.until(() => response.destroyed || hasChanged());
      if (response.destroyed) return;
    }
  }

  async #drained(response: ServerResponse): Promise<void> {
    const settled = new AbortController();
    const drained = ["drain", "close"].map((name) =>
      once(response, name, { signal: settled.signal }).catch(() => undefined),
    );
    const isStalled = setTimeout(() => {
      this.stalls += 1;
      this.#changed();
    }, 200);
    await Promise.race(drained);
    settled.abort(); // The loser's listener goes with it.
    clearTimeout(isStalled);
  }

  /** The run as the API shows it. */
  view(run: FakeRun) {
    const isOver = run.state === "finished";
    return {
      id: run.id,
      state: run.state,
      image: run.request.image,
      labels: run.request.labels ?? {},
      attempt: run.attempt,
      createdAt: "2026-01-02T03:04:05.000Z",
      startedAt: run.state === "queued" ? undefined : "2026-01-02T03:04:06.000Z",
      finishedAt: isOver ? "2026-01-02T03:04:16.000Z" : undefined,
      outcome: run.outcome,
      stdout: isOver ? output(run.stdout, run.facts.stdout) : undefined,
      stderr: isOver ? output(run.stderr, run.facts.stderr) : undefined,
    };
  }
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function output(bytes: Buffer, facts: { bytesSeen: number } = { bytesSeen: bytes.length }) {
  const isText = Buffer.from(bytes.toString()).equals(bytes);
  return {
    bytesSeen: facts.bytesSeen,
    bytesKept: bytes.length,
    truncated: facts.bytesSeen > bytes.length,
    bytesHead: bytes.length,
    sha256: "0".repeat(64),
    encoding: isText ? "utf8" : "base64",
    data: bytes.toString(isText ? "utf8" : "base64"),
  };
}

function event(name: string, data: unknown, id?: string): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

export function problem(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  response
    .writeHead(status, { "content-type": "application/problem+json", ...headers })
    .end(JSON.stringify({ type: "about:blank", title: "Problem", status, ...body }));
}

function raw(response: ServerResponse, bytes: Buffer): void {
  response.writeHead(200, { "content-type": "application/octet-stream" }).end(bytes);
}
