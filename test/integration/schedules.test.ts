// Schedules, with a real Redis, two real gateways and a worker whose program is a script. Ticks of each second are written to Redis by hand:
// what the API takes comes once a minute at most.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import type { Schedule } from "../../core/schedule.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");

let server: RedisServer;
let redis: Redis;
let gateways: Gateway[] = [];
let worker: FakeWorker | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  redis.on("error", () => {}); // Tests take Redis away; it comes back.
});

afterEach(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  gateways = [];
  await worker?.stop();
  worker = undefined;
  await redis.flushall();
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function start(count = 1, env: Record<string, string> = {}): Promise<Gateway> {
  const started = await Promise.all(
    Array.from({ length: count }, () =>
      startGateway({ redisUrl: server.url, keys: { acme: "key-a", other: "key-o" }, env }),
    ),
  );
  gateways.push(...started);
  for (const gateway of started)
    await eventually(async () => expect((await gateway.fetch("/readyz")).status).not.toBe(500));
  await eventually(async () => expect((await call("GET", "")).status).toBe(200));
  return started[0] as Gateway;
}

async function call(method: string, path: string, body?: unknown, key = "key-a"): Promise<Response> {
  const [gateway] = gateways;
  if (!gateway) throw new Error("no gateway is there");
  return gateway.fetch(`/v1/schedules${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const read = async (name: string) => (await (await call("GET", `/${name}`)).json()) as Schedule;
const nightly = { name: "nightly", cron: "30 2 * * *", timezone: "Europe/Berlin", request: { image: "busybox" } };
const jobs = async () => (await redis.keys("{mayfly}:timetable:*:repeat:*")).length;

/** A job of a tick, as BullMQ would hand it out. Its id ends in the tick. */
async function addJob(data: object, jobId: string): Promise<void> {
  const connection = redis.duplicate();
  const queue = new Queue("ticks", { connection, prefix: "{mayfly}:timetable" });
  await queue.add("tick", data, { jobId });
  await queue.close();
  connection.disconnect();
}

/** A schedule that is due each second: more often than any that the API takes. Gateways that start find it. */
async function eachSecond(request: object = { image: "busybox" }, name = "often"): Promise<void> {
  const fields = { id: `id-of-${name}`, cron: "* * * * * *", timezone: "UTC", request: JSON.stringify(request) };
  await redis.hset(keys.schedule(`acme:${name}`), { ...fields, enabled: "1", createdAt: "0" });
  await redis.zadd(keys.schedules, 0, `acme ${name}`);
}

describe("a schedule", () => {
  test("is made, told with its next tick, listed, paused, resumed and removed; another tenant sees none of it", async () => {
    await start();
    const made = await call("POST", "", nightly);
    expect(made.status).toBe(201);
    expect(made.headers.get("location")).toBe("/v1/schedules/nightly");
    const schedule = (await made.json()) as Schedule;
    expect(schedule).toEqual({
      ...nightly,
      enabled: true,
      createdAt: expect.any(String),
      nextTick: expect.stringMatching(/T0[01]:30:00.000Z$/),
    });
    expect(await (await call("GET", "")).json()).toEqual({ schedules: [schedule] });
    expect(await (await call("GET", "", undefined, "key-o")).json()).toEqual({ schedules: [] });
    for (const [method, path] of [
      ["GET", ""],
      ["POST", "/pause"],
      ["POST", "/resume"],
      ["DELETE", ""],
    ] as const)
      expect((await call(method, `/nightly${path}`, undefined, "key-o")).status).toBe(404);
    expect(await jobs()).toBe(2); // The scheduler, and its next tick.

    const { nextTick: _, ...paused } = { ...schedule, enabled: false };
    expect(await (await call("POST", "/nightly/pause")).json()).toEqual(paused);
    expect(await jobs()).toBe(0);
    expect(await (await call("POST", "/nightly/resume")).json()).toEqual(schedule);
    expect((await call("DELETE", "/nightly")).status).toBe(204);
    expect((await call("GET", "/nightly")).status).toBe(404);
    expect(await jobs()).toBe(0);
    expect(await redis.zcard(keys.schedules)).toBe(0);
  });

  test("of a name that there is already is refused, and nothing is changed; another tenant may have it", async () => {
    await start();
    await call("POST", "", nightly);
    const again = await call("POST", "", { ...nightly, cron: "0 0 * * *" });
    expect([again.status, ((await again.json()) as { reason: string }).reason]).toEqual([409, "schedule_exists"]);
    expect((await read("nightly")).cron).toBe("30 2 * * *");
    expect((await call("POST", "", nightly, "key-o")).status).toBe(201);
  });

  test.each([
    [{ cron: "* * * * * *" }, "cron"],
    [{ cron: "@daily" }, "cron"],
    [{ cron: "61 * * * *" }, "cron"],
    [{ cron: "0 0 31 2 *" }, "cron"],
    [{ timezone: "Mars/Olympus" }, "timezone"],
    [{ timezone: "+05:00" }, "timezone"],
    [{ name: "Night ly" }, "name"],
    [{ request: {} }, "request.image"],
    [{ request: { image: "busybox", pool: "elsewhere" } }, "request.pool"],
    [{ request: { image: "busybox", stdin: { stream: true } } }, "request.stdin"],
    [{ request: { image: "busybox", notBefore: "2026-01-31T08:00:00Z" } }, "request.notBefore"],
    [{ request: { image: "busybox", stdin: "a".repeat(65_536) } }, "request"],
    [{ colour: "red" }, "colour"],
  ])("with %j is refused, and the field is named", async (change, field) => {
    await start();
    const response = await call("POST", "", { ...nightly, ...change });
    const problem = (await response.json()) as { errors: { field: string }[] };
    expect([response.status, problem.errors[0]?.field]).toEqual([400, field]);
    expect(await redis.zcard(keys.schedules)).toBe(0);
  });

  test("is one of so many at most", async () => {
    await start();
    await redis.zadd(keys.schedules, ...Array.from({ length: 1_000 }, (_, i) => [0, `acme s${i}`]).flat());
    const response = await call("POST", "", nightly);
    expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([
      409,
      "too_many_schedules",
    ]);
  });
});

describe("a tick", () => {
  test("makes exactly one run, with the schedule's name in it, whichever of two gateways sees to it", async () => {
    await eachSecond({ image: "busybox", labels: { a: "b" } });
    worker = await startFakeWorker({ redisUrl: server.url });
    await start(2);
    await eventually(() => expect(worker?.claimed.length).toBeGreaterThanOrEqual(4));
    const ticked = () => gateways.flatMap(({ log }) => log.filter(({ event }) => event === "schedule.ticked"));
    const runs = new Map(ticked().map(({ tick, run }) => [tick, run]));
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    const claimed = worker.claimed.map(({ id }) => id);
    expect(new Set(claimed).size).toBe(claimed.length);
    const seconds = new Set(ticked().map(({ tick }) => tick));
    expect(claimed.length).toBe(seconds.size); // No tick has two, none is without.
    for (const [tick, run] of runs)
      expect(ticked().filter((line) => line.tick === tick && line.run !== run)).toEqual([]);
    expect(worker.claimed[0]).toMatchObject({ tenant: "acme", schedule: "often", request: { labels: { a: "b" } } });
  });

  test("that is handed out a second time finds the run of the first", async () => {
    await eachSecond();
    worker = await startFakeWorker({ redisUrl: server.url });
    await start();
    await eventually(() => expect(worker?.claimed.length).toBeGreaterThanOrEqual(1));
    await call("POST", "/often/pause");
    const line = await (gateways[0] as Gateway).logged("schedule.ticked");
    const before = worker.claimed.length;
    // As BullMQ has it again when the gateway that took it has died in the middle.
    const tickMs = Date.parse(String(line.tick));
    await redis.hset(keys.schedule("acme:often"), "enabled", "1");
    await addJob({ of: "acme often", id: "id-of-often" }, `again:of:${tickMs}`);
    const ticked = () =>
      gateways[0]?.log.filter(({ event, tick }) => event === "schedule.ticked" && tick === line.tick);
    await eventually(() => expect(ticked()?.map(({ run }) => run)).toEqual([line.run, line.run]));
    expect(worker.claimed.length).toBe(before);
  });

  test("at which the run is refused is told as lastError, until a later one has made a run", async () => {
    await eachSecond();
    await start(1, { MAYFLY_MAX_QUEUED: "1" });
    await eventually(async () =>
      expect((await read("often")).lastError).toEqual({
        tick: expect.any(String),
        message: "queue_full: 1 runs wait already",
      }),
    );
    worker = await startFakeWorker({ redisUrl: server.url });
    await eventually(async () => {
      const { lastError, lastRun } = await read("often");
      expect(lastError).toBeUndefined();
      expect(lastRun).toMatch(/^run_/);
    });
  });

  test("that came while no gateway was there is told as missed, and not made up for", async () => {
    await start();
    await call("POST", "", { ...nightly, cron: "0 0 1 1 *" });
    const id = await redis.hget(keys.schedule("acme:nightly"), "id");
    const missedMs = Date.now() - 3_600_000;
    await addJob({ of: "acme nightly", id }, `late:of:${missedMs}`);
    await eventually(async () =>
      expect((await read("nightly")).lastError).toEqual({
        tick: new Date(missedMs).toISOString(),
        message: expect.stringMatching(/^missed: /),
      }),
    );
    expect(await redis.keys(keys.run("*"))).toEqual([]);
  });

  test("of a schedule that was removed behind the timetable's back is the last", async () => {
    await eachSecond();
    await start();
    await eventually(async () => expect(await jobs()).toBeGreaterThan(0));
    await redis.del(keys.schedule("acme:often"));
    await eventually(async () => expect(await jobs()).toBe(0));
  });

  test("comes again once Redis has been away", async () => {
    await eachSecond();
    worker = await startFakeWorker({ redisUrl: server.url });
    await start();
    await eventually(() => expect(worker?.claimed.length).toBeGreaterThanOrEqual(1));
    await server.restart();
    const before = worker.claimed.length;
    await eventually(() => expect(worker?.claimed.length).toBeGreaterThan(before + 1));
  });
});

test("a gateway stops though Redis does not answer", async () => {
  await eachSecond();
  const gateway = await start();
  await server.halt();
  expect(await gateway.stop()).toBe(0);
  await server.resume();
});

test("the command line makes, lists, pauses, resumes and removes one", async () => {
  const gateway = await start();
  const mayfly = async (...args: string[]) => {
    const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, MAYFLY_API_KEY: "key-a" };
    const child = spawn(process.execPath, [CLI, "schedule", ...args], { env, stdio: "pipe" });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
    const [exitCode] = await once(child, "close");
    return { exitCode, ...text };
  };
  const made = await mayfly(
    "create",
    "--cron",
    "30 2 * * *",
    "-m",
    "64m",
    "nightly",
    "busybox",
    "--",
    "sh",
    "-c",
    "true",
  );
  expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^nightly .*T02:30:00.000Z\n$/) });
  expect((await read("nightly")).request).toEqual({
    image: "busybox",
    command: ["sh", "-c", "true"],
    limits: { memory: "64MiB" },
  });
  expect((await mayfly("ls")).stdout).toMatch(/^NAME .*\nnightly +30 2 \* \* \* +UTC +in .* - +-\n$/);
  expect(await mayfly("pause", "nightly")).toMatchObject({ exitCode: 0, stdout: "nightly paused\n" });
  expect(await mayfly("resume", "nightly")).toMatchObject({ exitCode: 0 });
  expect(JSON.parse((await mayfly("inspect", "nightly")).stdout)).toMatchObject({ enabled: true });
  expect(await mayfly("rm", "nightly")).toMatchObject({ exitCode: 0, stdout: "nightly\n" });
  expect(await mayfly("rm", "nightly")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("no schedule") });
  expect(await mayfly("create", "nightly", "busybox")).toMatchObject({ exitCode: 2 });
});
