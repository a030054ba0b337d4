// The gateway's process end to end, over HTTP, with a real Redis and a worker whose program is a script in the test.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { newRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Run } from "../../core/run.ts";
import { Run as RunSchema } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let worker: FakeWorker | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({
    redisUrl: server.url,
    keys: { acme: "key-a", other: "key-o" },
    env: { MAYFLY_MAX_QUEUED: "4", MAYFLY_MAX_STDIN: "1KiB", MAYFLY_MAX_WAITING: "2" },
  });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});

afterEach(async () => {
  await worker?.stop();
  worker = undefined;
  await redis.flushall();
});

afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

const ACME = { authorization: "Bearer key-a" };
const OTHER = { authorization: "Bearer key-o" };

const call = (
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string | Uint8Array<ArrayBuffer>,
) => gateway.fetch(path, { method, headers: { ...ACME, ...headers }, ...(body === undefined ? {} : { body }) });
const post = (request: Partial<RunRequest> = {}, headers: Record<string, string> = {}) =>
  call(
    "POST",
    "/v1/runs",
    { "content-type": "application/json", ...headers },
    JSON.stringify({ image: "busybox", ...request }),
  );
const get = (id: string, headers: Record<string, string> = {}) => call("GET", `/v1/runs/${id}`, headers);
const runOf = async (response: Response | Promise<Response>) => (await (await response).json()) as Run;
const accepted = async (request: Partial<RunRequest> = {}) => (await runOf(post(request))).id;
const reasonOf = async (response: Response | Promise<Response>) => {
  const answer = await response;
  return [answer.status, ((await answer.json()) as { reason: string }).reason];
};
const wait = (seconds: number) => ({ prefer: `wait=${seconds}` });

async function work(behave?: (attempt: FakeAttempt) => Promise<unknown>): Promise<void> {
  worker = await startFakeWorker({ redisUrl: server.url, ...(behave ? { behave } : {}) });
}

const hello = async (attempt: FakeAttempt) => {
  await attempt.started();
  await attempt.write("stdout", "hello\n");
  await attempt.write("stderr", Buffer.from([0xff]));
  await attempt.exit(3);
};

describe("a run that is waited for", () => {
  test("is answered with 200, how it ended and what it wrote", async () => {
    await work(hello);
    const response = await post({ labels: { a: "b" } }, wait(20));
    expect(response.status).toBe(200);
    expect(response.headers.get("preference-applied")).toBe("wait=20");
    expect(response.headers.get("server-timing")).toMatch(/^queue;dur=.*run;dur=1.*total;dur=/);
    const run = await runOf(response);
    expect(response.headers.get("location")).toBe(`/v1/runs/${run.id}`);
    expect(RunSchema.safeParse(run).error).toBeUndefined();
    expect(run).toMatchObject({
      state: "finished",
      outcome: { kind: "exited", exitCode: 3 },
      labels: { a: "b" },
      stdout: { encoding: "utf8", data: "hello\n", bytesSeen: 6, truncated: false },
      stderr: { encoding: "base64", data: "/w==" },
    });
  });

  test("longer than the caller would is 202, and is found at its Location", async () => {
    const response = await post({}, wait(1));
    expect(response.status).toBe(202);
    const location = response.headers.get("location") ?? "";
    const run = await runOf(response);
    expect(run).toMatchObject({ id: location.split("/").at(-1), state: "queued" });
    await work(hello);
    expect(await runOf(call("GET", location, wait(20)))).toMatchObject({ id: run.id, state: "finished" });
  });

  test("by a caller who hangs up goes on to its end, and its place is free for another", async () => {
    const gone = new AbortController();
    const [first, second] = [1, 2].map(() =>
      fetch(`${gateway.url}/v1/runs`, {
        method: "POST",
        headers: { ...ACME, ...wait(60), "content-type": "application/json" },
        body: JSON.stringify({ image: "busybox" }),
        signal: gone.signal,
      }).catch(() => "gone"),
    );
    await eventually(async () => expect(await redis.zcard(keys.queued("default"))).toBe(2));
    const ids = await redis.zrange(keys.queued("default"), "0", "-1");
    await eventually(async () => expect(await reasonOf(get(ids[0] ?? "", wait(1)))).toEqual([429, "too_many_waiters"]));
    gone.abort();
    expect(await Promise.all([first, second])).toEqual(["gone", "gone"]);
    await work(hello);
    await eventually(async () => {
      for (const id of ids) expect(await runOf(get(id, wait(5)))).toMatchObject({ state: "finished" });
    });
  });
});

describe("a run that is not waited for", () => {
  test("is 202 at once, and can be read while it waits, without output", async () => {
    const response = await post();
    expect(response.status).toBe(202);
    const run = await runOf(response);
    expect(run).toEqual({
      id: run.id,
      state: "queued",
      image: "busybox",
      labels: {},
      attempt: 1,
      createdAt: expect.any(String),
    });
    expect(await runOf(get(run.id))).toEqual({ ...run, waiting: { reason: "no_host" } });
  });

  test("can be waited for later, by several at once", async () => {
    const id = await accepted();
    const waiting = [runOf(get(id, wait(20))), runOf(get(id, wait(20)))];
    await work(hello);
    for (const run of await Promise.all(waiting)) expect(run.outcome).toEqual({ kind: "exited", exitCode: 3 });
  });

  test("has its output raw, as bytes that no browser will run", async () => {
    await work(hello);
    const { id } = await runOf(post({}, wait(20)));
    const response = await call("GET", `/v1/runs/${id}/output/stderr`);
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from([0xff]));
  });
});

test("a full queue is 429 and says when to come back; no record is left behind", async () => {
  const ids: string[] = [];
  for (let i = 0; i < 4; i++) ids.push(await accepted());
  const response = await post();
  expect(response.headers.get("retry-after")).toBe("1");
  expect(await reasonOf(response)).toEqual([429, "queue_full"]);
  const burst = await Promise.all(Array.from({ length: 10 }, () => post({}, {})));
  expect(burst.map(({ status }) => status)).toEqual(Array(10).fill(429));
  expect(await redis.zcard(keys.line("default:acme"))).toBe(4);
  expect((await redis.keys(keys.run("*"))).length).toBe(4);
  await call("POST", `/v1/runs/${ids[0]}/cancel`);
  expect((await post()).status).toBe(202);
});

describe("a cancellation", () => {
  test("of a run that waits is 200, and the run is over", async () => {
    const id = await accepted();
    const response = await call("POST", `/v1/runs/${id}/cancel`);
    expect(response.status).toBe(200);
    expect(await runOf(response)).toMatchObject({ state: "finished", outcome: { kind: "cancelled" } });
    await work();
    await runOf(post({}, wait(20)));
    expect(worker?.claimed.map((record) => record.id)).not.toContain(id);
  });

  test("of a run that goes on is 202: its host has been asked", async () => {
    const asked = Promise.withResolvers<void>();
    await work(async (attempt) => {
      await attempt.started();
      await asked.promise;
      expect(await attempt.store.renew(attempt.record)).toBe("cancel");
      await attempt.end({ kind: "cancelled" });
    });
    const id = await accepted();
    await eventually(async () => expect((await runOf(get(id))).state).toBe("running"));
    const response = await call("POST", `/v1/runs/${id}/cancel`);
    expect(response.status).toBe(202);
    expect(await runOf(response)).toMatchObject({ state: "running", cancelRequested: true });
    asked.resolve();
    expect((await runOf(get(id, wait(20)))).outcome).toEqual({ kind: "cancelled" });
  });

  test("of a run that is over is 200, and changes nothing", async () => {
    await work(hello);
    const { id } = await runOf(post({}, wait(20)));
    expect(await runOf(call("POST", `/v1/runs/${id}/cancel`))).toMatchObject({
      outcome: { kind: "exited", exitCode: 3 },
    });
  });
});

describe("another tenant's run", () => {
  test.each([
    ["GET", ""],
    ["POST", "/cancel"],
    ["POST", "/stdin"],
    ["GET", "/events"],
    ["GET", "/output/stdout"],
  ])("is not there: %s /v1/runs/{id}%s is what it is for a run that never was", async (method, path) => {
    const id = await accepted({ stdin: { stream: true } });
    const foreign = await reasonOf(call(method, `/v1/runs/${id}${path}`, OTHER));
    expect(foreign).toEqual([404, "run_not_found"]);
    expect(await reasonOf(call(method, `/v1/runs/${newRunId()}${path}`, OTHER))).toEqual(foreign);
    expect((await runOf(get(id))).state).toBe("queued");
  });

  test("is in no list but its own", async () => {
    const id = await accepted();
    expect(await (await call("GET", "/v1/runs", OTHER)).json()).toEqual({ runs: [] });
    expect(await (await call("GET", `/v1/runs?cursor=${newRunId()}`, OTHER)).json()).toEqual({ runs: [] });
    expect(((await (await call("GET", "/v1/runs")).json()) as { runs: Run[] }).runs.map((run) => run.id)).toEqual([id]);
  });
});

describe("a list", () => {
  interface Page {
    readonly runs: Run[];
    readonly next?: string;
  }
  const page = async (query: string) => (await (await call("GET", `/v1/runs?${query}`)).json()) as Page;

  async function all(query: string): Promise<string[]> {
    const ids: string[] = [];
    let cursor: string | undefined;
    do {
      const { runs, next } = await page(`${query}${cursor ? `&cursor=${cursor}` : ""}`);
      ids.push(...runs.map(({ id }) => id));
      cursor = next;
    } while (cursor);
    return ids;
  }

  test("has the newest first, in pages, each run once and without output", async () => {
    const ids = [await accepted(), await accepted(), await accepted()];
    expect((await page("limit=2")).runs).toHaveLength(2);
    expect(await all("limit=2")).toEqual(ids.toSorted().toReversed());
    expect(await all("limit=3")).toEqual(ids.toSorted().toReversed());
    expect((await page("")).runs[0]).not.toHaveProperty("stdout");
  });

  test("has only the runs of a state, if asked for", async () => {
    const [one, two] = [await accepted(), await accepted()];
    await call("POST", `/v1/runs/${two}/cancel`);
    expect([
      await all("state=queued&limit=1"),
      await all("state=finished&limit=1"),
      await all("state=running"),
    ]).toEqual([[one], [two], []]);
  });
});

describe("stdin that is sent afterwards", () => {
  const feed = (id: string, bytes: string | Uint8Array<ArrayBuffer>, query = "") =>
    call("POST", `/v1/runs/${id}/stdin${query}`, {}, bytes);

  test("reaches the program in order, and ends when it is closed", async () => {
    const id = await accepted({ stdin: { stream: true } });
    expect((await feed(id, "one ")).status).toBe(204);
    expect((await feed(id, new Uint8Array([0, 255]))).status).toBe(204);
    expect((await feed(id, " two", "?close=true")).status).toBe(204);
    const read = Promise.withResolvers<{ bytes: Buffer; complete: boolean }>();
    await work(async (attempt) => {
      read.resolve(await attempt.store.readStdin(attempt.record.id, 0, 1024));
      await attempt.exit(0);
    });
    expect(await read.promise).toEqual({
      bytes: Buffer.concat([Buffer.from("one "), Buffer.from([0, 255]), Buffer.from(" two")]),
      complete: true,
    });
  });

  test("is refused with 409 once it is closed, was never to come, or the run is over", async () => {
    const streamed = await accepted({ stdin: { stream: true } });
    await feed(streamed, "", "?close=true");
    const whole = await accepted({ stdin: "all of it" });
    const over = await accepted({ stdin: { stream: true } });
    await call("POST", `/v1/runs/${over}/cancel`);
    for (const id of [streamed, whole, over]) expect(await reasonOf(feed(id, "x"))).toEqual([409, "stdin_closed"]);
  });

  test("is refused with 413 over its limit in all, and what came before is kept", async () => {
    const id = await accepted({ stdin: { stream: true } });
    expect((await feed(id, "a".repeat(1000))).status).toBe(204);
    expect(await reasonOf(feed(id, "b".repeat(100)))).toEqual([413, "body_too_large"]);
    expect((await feed(id, "c".repeat(24))).status).toBe(204);
    expect(await redis.get(keys.stdin(id))).toBe(`${"a".repeat(1000)}${"c".repeat(24)}`);
    expect(await reasonOf(post({ stdin: "a".repeat(1025) }))).toEqual([413, "body_too_large"]);
  });
});

describe("events", () => {
  interface Message {
    readonly event: string;
    readonly id?: string;
    readonly data: { base64?: string; offset?: number; state?: string; outcome?: unknown; attempt?: number };
  }

  /** Reads messages as they come; the stream ends when the gateway ends it or the reader stops. */
  async function* follow(id: string, headers: Record<string, string> = {}): AsyncGenerator<Message> {
    const response = await call("GET", `/v1/runs/${id}/events`, headers);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    let text = "";
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const lines = text.slice(0, end).split("\n");
        text = text.slice(end + 2);
        const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        const eventId = field("id");
        if (field("event"))
          yield {
            event: field("event") ?? "",
            data: JSON.parse(field("data") ?? "null"),
            ...(eventId === undefined ? {} : { id: eventId }),
          };
      }
    }
  }

  const collect = async (id: string, headers?: Record<string, string>) => {
    const messages: Message[] = [];
    for await (const message of follow(id, headers)) messages.push(message);
    return messages;
  };
  const bytesOf = (messages: Message[], stream: string) =>
    Buffer.concat(
      messages.filter(({ event }) => event === stream).map(({ data }) => Buffer.from(data.base64 ?? "", "base64")),
    );

  test("tell states and output as they come, and the end last", async () => {
    const more = Promise.withResolvers<void>();
    const id = await accepted();
    const messages: Message[] = [];
    const following = (async () => {
      for await (const message of follow(id)) {
        messages.push(message);
        if (message.event === "stdout") more.resolve();
      }
    })();
    await eventually(() => expect(messages[0]?.data.state).toBe("queued"));
    await work(async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", "one ");
      await more.promise; // Only what is told before the end comes this far.
      await attempt.write("stdout", "two");
      await attempt.write("stderr", Buffer.from([0xff]));
      await attempt.exit(0);
    });
    await following;
    expect(messages.at(-1)).toMatchObject({ event: "end", data: { state: "finished", outcome: { kind: "exited" } } });
    expect(messages.filter(({ event }) => event === "end")).toHaveLength(1);
    expect(bytesOf(messages, "stdout").toString()).toBe("one two");
    expect(bytesOf(messages, "stderr")).toEqual(Buffer.from([0xff]));
    const states = messages.filter(({ event }) => event === "state").map(({ data }) => data.state);
    expect(states.at(-1)).toBe("finished");
    const order = ["queued", "starting", "running", "finished"];
    expect(states.map((state) => order.indexOf(state ?? ""))).toEqual(
      states.map((state) => order.indexOf(state ?? "")).toSorted((a, b) => a - b),
    );
  });

  test("are resumed at the byte that Last-Event-ID names", async () => {
    await work(hello);
    const { id } = await runOf(post({}, wait(20)));
    const resumed = await collect(id, { "last-event-id": "1.4.0" });
    expect(bytesOf(resumed, "stdout").toString()).toBe("o\n");
    expect(resumed.find(({ event }) => event === "stdout")).toMatchObject({ id: "1.6.0", data: { offset: 4 } });
    expect(bytesOf(resumed, "stderr")).toEqual(Buffer.from([0xff]));
    expect(resumed.at(-1)?.event).toBe("end");
    const rest = await collect(id, { "last-event-id": "1.6.1" });
    expect(rest.map(({ event }) => event)).toEqual(["state", "end"]);
  });

  test("of another attempt than the reader's are told from the beginning", async () => {
    await work(hello);
    const { id } = await runOf(post({}, wait(20)));
    for (const position of ["7.4.0", "nonsense"])
      expect(bytesOf(await collect(id, { "last-event-id": position }), "stdout").toString()).toBe("hello\n");
  });

  test("go on when the run's host is lost: the next attempt starts anew", async () => {
    const lost = Promise.withResolvers<void>();
    await work(async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", attempt.record.attempt === 1 ? "half" : "whole");
      if (attempt.record.attempt > 1) return attempt.exit(0);
      await lost.promise;
      return attempt.store.release(attempt.record, "lost on purpose");
    });
    const id = await accepted({ retries: 1 });
    const messages: Message[] = [];
    for await (const message of follow(id)) {
      messages.push(message);
      if (message.event === "stdout") lost.resolve();
    }
    expect(messages.at(-1)).toMatchObject({ event: "end", data: { attempt: 2 } });
    expect(
      bytesOf(
        messages.filter(({ id: at }) => at?.startsWith("2.")),
        "stdout",
      ).toString(),
    ).toBe("whole");
  });

  test("too many followers are refused with 429, and a place is free again when one leaves", async () => {
    const id = await accepted();
    const readers = [follow(id), follow(id)];
    for (const reader of readers) await reader.next();
    expect(await reasonOf(call("GET", `/v1/runs/${id}/events`))).toEqual([429, "too_many_waiters"]);
    await readers[0]?.return(undefined);
    await eventually(async () => {
      const next = follow(id);
      expect((await next.next()).value).toMatchObject({ event: "state" });
      await next.return(undefined);
    });
    await readers[1]?.return(undefined);
  });

  test("HEAD has no body, and so takes no follower's place", async () => {
    const id = await accepted();
    for (let i = 0; i < 3; i++) {
      const head = await call("HEAD", `/v1/runs/${id}/events`);
      expect([head.status, head.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    }
    await eventually(async () => {
      const next = follow(id);
      expect((await next.next()).value).toMatchObject({ event: "state" });
      await next.return(undefined);
    });
  });
});

test("neither output, nor stdin, nor the environment is ever in a key that is not the run's own, or in the gateway's log", async () => {
  const marker = "marker-7f3a9c";
  const parts = [`${marker}-out`, `${marker}-in`, `${marker}-env`, `${marker}-arg`];
  const seen: string[] = [];
  const scan = async () => {
    for (const key of await redis.keys("*")) if (!key.startsWith(keys.run(""))) seen.push(`${key} ${await dump(key)}`);
  };
  const request = { stdin: `${marker}-in`, env: { A: `${marker}-env` }, command: [`${marker}-arg`] };
  await accepted(request);
  await scan();
  await work(async (attempt) => {
    await attempt.started();
    await attempt.write("stdout", `${marker}-out`);
    await scan();
    await attempt.exit(0);
  });
  await runOf(post(request, wait(20)));
  await scan();
  expect(seen.length).toBeGreaterThan(3);
  // A line is written after its answer.
  const isTheLast = ({ event, method, status }: (typeof gateway.log)[number]) =>
    event === "request" && method === "POST" && status === 200;
  await eventually(() => expect(gateway.log.some(isTheLast)).toBe(true));
  for (const part of parts) {
    expect(seen.filter((text) => text.includes(part))).toEqual([]);
    expect(JSON.stringify(gateway.log)).not.toContain(part);
  }
});

/** The value of a key of any type, as text. */
async function dump(key: string): Promise<string> {
  switch (await redis.type(key)) {
    case "hash":
      return JSON.stringify(await redis.hgetall(key));
    case "list":
      return JSON.stringify(await redis.lrange(key, 0, -1));
    case "zset":
      return JSON.stringify(await redis.zrange(key, "0", "-1"));
    case "set":
      return JSON.stringify(await redis.smembers(key));
    case "stream":
      return JSON.stringify(await redis.xrange(key, "-", "+"));
    case "string":
      return (await redis.get(key)) ?? "";
    default:
      return ""; // Gone since it was listed.
  }
}
