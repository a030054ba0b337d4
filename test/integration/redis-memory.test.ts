// What a finished run costs Redis, all of its keys and its places in sets included, with a receipt as a real host writes it.

import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectRedis } from "../../gateway/dispatch/redis.ts";
import { RunStore } from "../../gateway/dispatch/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const RUNS = 200;
const LIMIT_BYTES = 2048;
const DIGEST = `sha256:${"5".repeat(64)}`;
const RECEIPT = {
  ...{ imageDigest: DIGEST, host: "vm-c4f20be5", driver: "launcher", attempt: 1 },
  phases: { queue: 0, pull: 0.052, prepare: 1.774, start: 0.326, run: 0.759, collect: 0.004 },
  ...{ cpuMs: 1.204, throttledMs: 0, peakMemoryBytes: 401_408, oomKills: 0 },
};

let server: RedisServer;
let redis: Redis;
let worker: FakeWorker;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  worker = await startFakeWorker({
    redisUrl: server.url,
    behave: async ({ record, store }) => {
      await store.started(record);
      const outcome = { kind: "exited", exitCode: 0 } as const;
      await store.finish(record, { outcome, receipt: RECEIPT, ran: true, stdout: undefined, stderr: undefined });
    },
  });
});
afterAll(async () => {
  await worker.stop();
  redis.disconnect();
  await server.stop();
});

test("a finished run of `true` takes at most 2 KiB of Redis' memory", async () => {
  const gatewayRedis = connectRedis(server.url);
  await gatewayRedis.connect();
  const limits = { maxQueued: 1_000, maxKept: 10_000, maxStdinBytes: 100, retentionMs: 600_000 };
  const gateway = new RunStore({ redis: gatewayRedis, ...limits });
  const before = new Set(await redis.keys("*"));
  const request = { image: "127.0.0.1:5000/busybox:latest", command: ["true"] };
  const ids: string[] = [];
  for (let i = 0; i < RUNS; i++) ids.push(await gateway.submit({ tenant: "default", request, waiter: undefined }));
  await eventually(async () => {
    const states = await Promise.all(ids.map((id) => redis.hget(`{mayfly}:run:${id}`, "state")));
    expect(new Set(states)).toEqual(new Set(["finished"]));
  });
  const made = (await redis.keys("*")).filter((key) => !before.has(key));
  const sizes = await Promise.all(made.map(async (key) => Number(await redis.memory("USAGE", key, "SAMPLES", 0))));
  gatewayRedis.disconnect();
  expect(sizes.reduce((sum, size) => sum + size, 0) / RUNS).toBeLessThanOrEqual(LIMIT_BYTES);
});
