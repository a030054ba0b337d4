// Batches through real gateways and a real Redis, with workers that have no containers.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Batch, BatchResult } from "../../core/batch.ts";
import { itemRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { type Ack, endOf, jsonLines, linesOf, readLines } from "../helpers/batch-lines.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, type GatewayOptions, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateways: Gateway[] = [];
let workers: FakeWorker[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
beforeEach(() => redis.flushall());
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  [gateways, workers] = [[], []];
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function gatewayWith(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const gateway = await startGateway({ redisUrl: server.url, ...options });
  gateways.push(gateway);
  return gateway;
}

async function workerWith(options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const worker = await startFakeWorker({ redisUrl: server.url, ...options });
  workers.push(worker);
  return worker;
}

/** The last argument is what each run does: it is written, and an exit code where it says so. */
async function obey(attempt: FakeAttempt): Promise<void> {
  const word = attempt.record.request.command?.at(-1) ?? "";
  await attempt.started();
  await attempt.write("stdout", `${word}\n`);
  await attempt.exit(word.startsWith("fail") ? 1 : 0);
}

const item = (word: string | number) => JSON.stringify({ image: "busybox", command: ["echo", String(word)] });
const many = (count: number) => Array.from({ length: count }, (_, i) => item(i));

async function send(gateway: Gateway, lines: readonly string[], path = "/v1/batches", headers = {}): Promise<Ack[]> {
  const answer = await gateway.fetch(path, { method: "POST", ...linesOf(lines, headers) });
  expect(answer.status).toBe(200);
  return readLines<Ack>(answer);
}

const idOf = (acks: readonly Ack[]) => String(acks[0]?.batch);
const get = async (gateway: Gateway, id: string): Promise<Batch> =>
  (await gateway.fetch(`/v1/batches/${id}`)).json() as Promise<Batch>;
const act = (gateway: Gateway, id: string, verb: string) =>
  gateway.fetch(`/v1/batches/${id}/${verb}`, { method: "POST" });
const resultsOf = async (gateway: Gateway, id: string, query = ""): Promise<BatchResult[]> =>
  readLines(await gateway.fetch(`/v1/batches/${id}/results?${query}`));
const over = (gateway: Gateway, id: string, state = "finished") =>
  eventually(async () => expect((await get(gateway, id)).state).toBe(state));
const exited = (exitCode: number) => ({ kind: "exited", exitCode });

describe("items", () => {
  test("5,000 go through: each runs once, the queue never holds more than the window, and each has its result", async () => {
    const gateway = await gatewayWith();
    const worker = await workerWith({ behave: obey });
    const acks = await send(gateway, many(5_000));
    expect(endOf(acks)).toMatchObject({ lines: 5_000, counts: { total: 5_000 } });
    const id = idOf(acks);
    const seen = await resultsOf(gateway, id, "follow=true");
    expect(seen.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 5_000 }, (_, i) => i));
    for (const { index, run, outcome, stdout, receiptDigest } of seen) {
      expect([run, outcome, stdout?.data]).toEqual([itemRunId(id, index), exited(0), `${index}\n`]);
      expect(receiptDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
    }
    expect(worker.claimed).toHaveLength(5_000);
    expect(new Set(worker.claimed.map((run) => run.id)).size).toBe(5_000);
    const batch = await get(gateway, id);
    expect(batch).toMatchObject({ state: "finished", progress: 1, counts: { succeeded: 5_000, failed: 0, waiting: 0, queued: 0, running: 0 } });
    expect(await redis.hget(keys.use("default"), "batches")).toBeNull();
  });

  test("100,000 that wait cost the queue nothing: it holds a window of them", async () => {
    const gateway = await gatewayWith();
    const acks = await send(gateway, many(20_000));
    await eventually(async () => expect((await get(gateway, idOf(acks))).counts.queued).toBe(128));
    expect((await get(gateway, idOf(acks))).counts).toMatchObject({ total: 20_000, waiting: 19_872, running: 0 });
    expect(await redis.zcard(keys.queued("default"))).toBe(128);
  });
});
