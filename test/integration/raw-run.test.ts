// POST /v1/run/{image}, with a real gateway and Redis: bytes in, bytes out, whatever the image's reference looks like.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import type { Outcome } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const MAX_STDIN = 512 * 1024;

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let worker: FakeWorker | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({
    redisUrl: server.url,
    env: { MAYFLY_MAX_STDIN: "512KiB", MAYFLY_MAX_BODY: "1KiB" },
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

const run = (path: string, body?: RequestInit["body"], headers: Record<string, string> = {}) =>
  gateway.fetch(`/v1/run/${path}`, {
    method: "POST",
    headers,
    ...(body === undefined ? {} : { body, duplex: "half" as const }),
  });

async function work(behave: (attempt: FakeAttempt) => Promise<unknown>): Promise<FakeWorker> {
  worker = await startFakeWorker({ redisUrl: server.url, behave });
  return worker;
}

async function readAll({ record, store }: FakeAttempt, from = 0): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let offset = from; ; ) {
    const { bytes, complete } = await store.readStdin(record.id, offset, 64 * 1024);
    pieces.push(bytes);
    offset += bytes.length;
    if (complete) return Buffer.concat(pieces);
  }
}

const cat = async (attempt: FakeAttempt) => {
  await attempt.started();
  const input = await readAll(attempt);
  for (let at = 0; at < input.length; at += 65_536) await attempt.write("stdout", input.subarray(at, at + 65_536));
  await attempt.exit(0);
};

describe("the body", () => {
  test.each([
    ["nothing", 0],
    ["a few bytes", 5],
    ["as much as is read before the run is made", 64 * 1024],
    ["one byte more", 64 * 1024 + 1],
    ["as much as a run may be sent", MAX_STDIN],
  ])("of %s is the program's stdin, and its stdout is the answer, to the byte", async (_, length) => {
    await work(cat);
    const body = Buffer.alloc(length, Buffer.from([0, 255, 10, 13, 128]));
    const response = await run("busybox", body);
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect(response.headers.get("mayfly-outcome")).toBe("exited");
    expect(response.headers.get("mayfly-exit-code")).toBe("0");
    expect(response.headers.get("mayfly-run-id")).toBe(worker?.claimed[0]?.id);
    expect(response.headers.get("location")).toBe(`/v1/runs/${worker?.claimed[0]?.id}`);
    expect(response.headers.get("server-timing")).toMatch(/^queue;dur=.*total;dur=/);
    expect(JSON.stringify(await redis.hgetall(keys.run(worker?.claimed[0]?.id ?? "")))).not.toContain("AP8KDY");
  });

  test("reaches the program while the caller still sends", async () => {
    const seen = Promise.withResolvers<void>();
    await work(async (attempt) => {
      await attempt.started();
      await eventually(async () =>
        expect((await attempt.store.readStdin(attempt.record.id, 0, 10)).bytes.length).toBe(10),
      );
      seen.resolve();
      await attempt.write("stdout", String((await readAllOnceClosed(attempt)).length));
      await attempt.exit(0);
    });
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(Buffer.alloc(100_000, "a"));
        await seen.promise;
        controller.enqueue(Buffer.alloc(50_000, "b"));
        controller.close();
      },
    });
    expect(await (await run("busybox", body)).text()).toBe("150000");
  });

  test("that is over the limit is 413, and its run is cancelled, not left with half of its input", async () => {
    const told = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.alloc(100_000));
        controller.enqueue(Buffer.alloc(MAX_STDIN));
        controller.close();
      },
    });
    const response = await run("busybox", told);
    expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([413, "body_too_large"]);
    const [key = ""] = (await redis.keys(keys.run("*"))).filter((name) => /run_[^:]+$/.test(name));
    expect(JSON.parse((await redis.hget(key, "outcome")) ?? "{}")).toEqual({ kind: "cancelled" });
    expect(await redis.zcard(keys.queued("default"))).toBe(0);
    const said = await run("busybox", Buffer.alloc(MAX_STDIN + 1));
    expect(said.status).toBe(413);
    expect((await redis.keys(keys.run("*"))).filter((name) => /run_[^:]+$/.test(name))).toEqual([key]);
  });

  test("of a caller who breaks off is not taken for the whole: the run is cancelled", async () => {
    const gone = new AbortController();
    const body = new ReadableStream({ start: (controller) => controller.enqueue(Buffer.alloc(100_000)) });
    const asked = fetch(`${gateway.url}/v1/run/busybox`, {
      method: "POST",
      body,
      duplex: "half",
      signal: gone.signal,
    }).catch(() => "gone");
    await eventually(async () => expect(await redis.zcard(keys.queued("default"))).toBe(1));
    gone.abort();
    expect(await asked).toBe("gone");
    await eventually(async () => expect(await redis.zcard(keys.queued("default"))).toBe(0));
  });

  test("that the program does not read to its end holds up no answer", async () => {
    const over = Promise.withResolvers<void>();
    await work(async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", "enough");
      await attempt.exit(0);
      over.resolve();
    });
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(Buffer.alloc(100_000));
        await over.promise;
        controller.enqueue(Buffer.alloc(100_000));
        controller.close();
      },
    });
    const response = await run("busybox", body);
    expect([response.status, await response.text()]).toEqual([200, "enough"]);
  });
});

test("the path is the image's reference, and the query the rest of the request", async () => {
  await work((attempt) => attempt.exit(0));
  const image = `127.0.0.1:5000/some/tool:1.7@sha256:${"a".repeat(64)}`;
  const query = new URLSearchParams([
    ["command", "-r"],
    ["command", "a b"],
    ["entrypoint", "/bin/jq"],
    ["env", "A=1=2"],
    ["env", "B="],
    ["label", "who=me"],
    ["timeout", "5s"],
    ["memory", "64MiB"],
    ["cpus", "0.5"],
    ["pids", "7"],
    ["pool", "default"],
    ["pull", "always"],
  ]);
  expect((await run(`${image}?${query}`)).status).toBe(200);
  expect(worker?.claimed[0]?.request).toEqual({
    image,
    command: ["-r", "a b"],
    entrypoint: ["/bin/jq"],
    env: { A: "1=2", B: "" },
    labels: { who: "me" },
    timeouts: { run: "5s" },
    limits: { memory: "64MiB", cpus: 0.5, pids: 7 },
    pool: "default",
    pull: "always",
  });
});

test.each([
  ["memory=1", "memory"],
  ["timeout=forever", "timeout"],
  ["cpus=many", "cpus"],
  ["cpus=", "cpus"],
  ["env=A", "env"],
  ["env=1A=x", "env"],
  ["memory=64MiB&memory=65MiB", "memory"],
  ["mem=64MiB", "mem"],
  ["pool=elsewhere", "pool"],
  ["stdin=x", "stdin"],
])("a query of %s is refused, and the word that is wrong is named", async (query, field) => {
  const response = await run(`busybox?${query}`);
  const problem = (await response.json()) as { reason: string; errors: { field: string }[] };
  expect([response.status, problem.reason, problem.errors[0]?.field]).toEqual([400, "invalid_field", field]);
  expect(await redis.keys(keys.run("*"))).toEqual([]);
});

test.each<[Outcome, number, Record<string, string>]>([
  [{ kind: "exited", exitCode: 3 }, 422, { "mayfly-outcome": "exited", "mayfly-exit-code": "3" }],
  [{ kind: "signaled", signal: "SIGSEGV" }, 422, { "mayfly-outcome": "signaled", "mayfly-signal": "SIGSEGV" }],
  [{ kind: "oom_killed", limit: "64MiB", exitCode: 1 }, 422, { "mayfly-outcome": "oom_killed" }],
  [{ kind: "timed_out", clock: "run", limit: "1m" }, 504, { "mayfly-outcome": "timed_out" }],
  [{ kind: "cancelled" }, 409, { "mayfly-outcome": "cancelled" }],
  [{ kind: "lost", message: "gone" }, 502, { "mayfly-outcome": "lost" }],
])("%j is %i, with what there is of stdout", async (outcome, status, head) => {
  await work(async (attempt) => {
    await attempt.started();
    await attempt.write("stdout", "half");
    await attempt.end(outcome);
  });
  const response = await run("busybox");
  expect([response.status, await response.text()]).toEqual([status, "half"]);
  expect(Object.fromEntries(response.headers)).toMatchObject(head);
});

test("a run that is rejected is a problem with the status of its reason", async () => {
  await work((attempt) => attempt.end({ kind: "rejected", code: "image_not_found", message: "no such image" }));
  const response = await run("busybox");
  expect(response.headers.get("mayfly-outcome")).toBe("rejected");
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([404, "image_not_found"]);
});

test("a run that takes longer than the caller would wait is 202, and is found at its Location", async () => {
  for (const prefer of ["wait=1", "respond-async"]) {
    const response = await run("busybox", "hello", { prefer });
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({ id: response.headers.get("mayfly-run-id"), state: "queued" });
    expect((await gateway.fetch(response.headers.get("location") ?? "")).status).toBe(200);
  }
});

test("an idempotency key is refused: what would be compared comes in pieces", async () => {
  const response = await run("busybox", "", { "idempotency-key": "a" });
  expect(response.status).toBe(400);
  expect(await redis.keys(keys.run("*"))).toEqual([]);
});

test("the document describes the route, its words and what it answers", async () => {
  const document = (await (await gateway.fetch("/openapi.json")).json()) as {
    paths: Record<string, { post: { parameters: { name: string }[]; responses: object; security: unknown } }>;
  };
  const { parameters, responses, security } = document.paths["/v1/run/{image}"]?.post ?? { parameters: [] };
  expect(parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(["image", "command", "memory", "prefer"]));
  expect(Object.keys(responses ?? {})).toEqual(expect.arrayContaining(["200", "202", "422", "502", "504"]));
  expect(security).toEqual([{ key: ["submit"] }]);
});

/** All of it, once there can be no more. */
async function readAllOnceClosed(attempt: FakeAttempt): Promise<Buffer> {
  await eventually(async () => expect(await redis.hget(keys.run(attempt.record.id), "stdinClosed")).toBe("1"));
  return readAll(attempt);
}
