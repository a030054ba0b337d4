// What of a batch is in the queue: runs that wait for their time or for their key keep none of it from the hosts, and what is no use there goes away.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Batch } from "../../core/batch.ts";
import { keys } from "../../core/keys.ts";
import { type Ack, linesOf, readLines } from "../helpers/batch-lines.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let workers: FakeWorker[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
beforeEach(async () => {
  await redis.flushall();
  gateway = await startGateway({ redisUrl: server.url });
  await eventually(async () => expect(await (await gateway.fetch("/readyz")).text()).not.toContain("Redis"));
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await gateway.stop();
  workers = [];
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function workerWith(options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const worker = await startFakeWorker({ redisUrl: server.url, behave: obey, ...options });
  workers.push(worker);
  return worker;
}

async function obey(attempt: FakeAttempt): Promise<void> {
  await attempt.started();
  await attempt.exit(attempt.record.request.command?.at(-1) === "fail" ? 1 : 0);
}

const request = (more: object = {}) => JSON.stringify({ image: "busybox", command: ["go"], ...more });
const several = (count: number, more: object = {}) => Array.from({ length: count }, () => request(more));
const LATER = { delay: "1h" };

/** The batch's id. */
async function send(lines: readonly string[], path = "/v1/batches"): Promise<string> {
  const acks = await readLines<Ack>(await gateway.fetch(path, { method: "POST", ...linesOf(lines) }));
  expect(acks.at(-1)?.end).toBeDefined();
  return String(acks.at(-1)?.end?.id);
}
const get = async (id: string) => (await gateway.fetch(`/v1/batches/${id}`)).json() as Promise<Batch>;
const act = (id: string, verb: string) => gateway.fetch(`/v1/batches/${id}/${verb}`, { method: "POST" });
const counted = (id: string, counts: Partial<Batch["counts"]>) =>
  eventually(async () => expect((await get(id)).counts).toMatchObject(counts));
const aside = async (id: string) => Number((await redis.hget(keys.batch(id), "aside")) ?? 0);

describe("runs that stand aside", () => {
  const gated = { concurrency: { key: "one", max: 1 } };
  const failing = { command: ["fail"], retry: { attempts: 2, backoff: { initial: "1h", max: "1h" } } };

  test.each<[string, object, Partial<Batch["counts"]>]>([
    ["wait for their time", LATER, { queued: 200 }],
    ["are to be tried again later", failing, { queued: 200 }],
  ])("because they %s keep none of the others from the hosts", async (_, what, counts) => {
    await workerWith();
    const id = await send([...several(200, what), ...several(400)]);
    await counted(id, { succeeded: 400, waiting: 0, running: 0, ...counts });
    expect(await aside(id)).toBe(200);
  });

  test("because of their key's gate keep none of the others from the hosts, and come in one by one", async () => {
    let letGo = () => {};
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const behave = async (attempt: FakeAttempt) => {
      if (attempt.record.request.concurrency) await held;
      await obey(attempt);
    };
    await workerWith({ behave });
    const id = await send([...several(200, gated), ...several(400)]);
    await counted(id, { succeeded: 400, running: 1, queued: 199 });
    expect(await aside(id)).toBe(199);
    letGo();
    await eventually(async () => expect(await aside(id)).toBeLessThan(199));
    const { succeeded, queued, running } = (await get(id)).counts;
    expect(succeeded + queued + running).toBe(600);
    await act(id, "cancel");
    await eventually(async () => expect((await get(id)).state).toBe("cancelled"));
    expect([await aside(id), await redis.exists(keys.gates("default"))]).toEqual([0, 0]);
  });

  test("do not keep what is sent later from being fed at once", async () => {
    await workerWith();
    const id = await send(several(100, LATER), "/v1/batches?close=false");
    await counted(id, { queued: 100 });
    await send(several(400), `/v1/batches/${id}/items?from=100&close=true`);
    await counted(id, { succeeded: 400, queued: 100 });
  });

  test("do not keep a batch that is resumed from going on", async () => {
    await workerWith();
    const id = await send(several(100, LATER), "/v1/batches?close=false");
    await counted(id, { queued: 100 });
    await act(id, "pause");
    await send(several(400), `/v1/batches/${id}/items?from=100&close=true`);
    await redis.zadd(keys.batchesDue, 0, id);
    await eventually(async () => expect(await redis.zscore(keys.batchesDue, id)).toBeNull());
    await act(id, "resume");
    await counted(id, { succeeded: 400, queued: 100 });
  });

  test("are 1,024 at most, and leave no trace once the batch is cancelled", async () => {
    await workerWith();
    const id = await send([...several(1_100, LATER), ...several(10)]);
    await counted(id, { queued: 1_024, waiting: 86, succeeded: 0 });
    await act(id, "cancel");
    await eventually(async () => expect((await get(id)).state).toBe("cancelled"));
    expect(await aside(id)).toBe(0);
  });
});

test("an item that needs a host which is away for a moment waits for it", async () => {
  await workerWith({ hostId: "small", capacity: { cpus: 1 } });
  const id = await send(several(3, { limits: { cpus: 8 } }));
  await eventually(async () => expect(await redis.hexists(keys.batch(id), "unfit:default")).toBe(1));
  await workerWith({ hostId: "large" });
  await counted(id, { succeeded: 3, failed: 0 });
  expect(await redis.hexists(keys.batch(id), "unfit:default")).toBe(0);
});

test("a template's files and stdin that are too large to be copied into each run are refused with the limit", async () => {
  const template = {
    image: "busybox",
    command: ["{}"],
    stdin: "x".repeat(65_000),
    files: [{ path: "/a", content: "x".repeat(1_000) }],
  };
  const answer = await gateway.fetch("/v1/batches", {
    method: "POST",
    body: JSON.stringify({ template, inputs: ["a"] }),
    headers: { "content-type": "application/json" },
  });
  expect([answer.status, await answer.text()]).toEqual([
    400,
    expect.stringMatching(/template.files and template.stdin.*65536.*upload/),
  ]);
});

test("what items have in common is kept only for those that are taken, counts as what waits, and goes with the batch", async () => {
  const id = await send(several(2), "/v1/batches?close=false");
  const shapes = `${keys.batch(id)}:shapes`;
  await send(several(2, { limits: { cpus: 2 } }), `/v1/batches/${id}/items?from=0`);
  expect(await redis.hlen(shapes)).toBe(1);
  await counted(id, { queued: 2 });
  const [[name, shape]] = Object.entries(await redis.hgetall(shapes)) as [[string, string]];
  expect(Number(await redis.hget(keys.batch(id), "bytes"))).toBe(name.length + shape.length);
  await act(id, "cancel");
  await eventually(async () => expect((await get(id)).state).toBe("cancelled"));
  await send(several(2), `/v1/batches/${id}/items?from=0`);
  expect(await redis.exists(shapes)).toBe(0);
});

test("a run that comes back from its host while its batch stops is cancelled", async () => {
  let letGo = () => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  const behave = async (attempt: FakeAttempt) => {
    if (attempt.record.request.retry) await held;
    await obey(attempt);
  };
  await workerWith({ behave });
  const again = { command: ["fail"], retry: { attempts: 2, backoff: { initial: "1h", max: "1h" } } };
  const id = await send([request(again), request({ command: ["fail"] })], "/v1/batches?onFailure=stop_on_first");
  await eventually(async () => expect(await redis.zrangebyscore(`${keys.batch(id)}:live`, 1, 1)).toHaveLength(1));
  letGo();
  await eventually(async () => expect((await get(id)).state).toBe("finished"));
  expect((await get(id)).counts).toMatchObject({ failed: 1, cancelled: 1 });
});
