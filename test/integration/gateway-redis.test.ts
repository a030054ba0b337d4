// The gateway and a Redis that goes away, comes back, or is not there yet.

import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Run } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let gateway: Gateway;

beforeEach(async () => {
  server = await startRedis({ fsync: "always" });
  gateway = await startGateway({ redisUrl: server.url });
  await ready();
});

afterEach(async () => {
  await gateway.stop();
  await server.stop();
});

const ready = () => eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
const post = (headers: Record<string, string> = {}) =>
  gateway.fetch("/v1/runs", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ image: "busybox" }),
  });
const accepted = async () => {
  const response = await post();
  expect(response.status).toBe(202);
  return ((await response.json()) as Run).id;
};
const get = async (id: string, headers: Record<string, string> = {}) =>
  (await (await gateway.fetch(`/v1/runs/${id}`, { headers })).json()) as Run;
/** The gateway has noticed: what it says does not depend on when its next attempt to connect is. */
const unready = () => eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(503));

describe("while Redis is down", () => {
  test("every call about runs is 503 with Retry-After, at once and also in its very first moment", async () => {
    const id = await accepted();
    await server.halt();
    for (const answer of [
      await post(),
      await post({ prefer: "wait=30" }),
      await gateway.fetch("/v1/runs"),
      await gateway.fetch(`/v1/runs/${id}`),
      await gateway.fetch(`/v1/runs/${id}`, { headers: { prefer: "wait=30" } }),
      await gateway.fetch(`/v1/runs/${id}/events`),
      await gateway.fetch(`/v1/runs/${id}/cancel`, { method: "POST" }),
    ]) {
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
      expect(await answer.json()).toMatchObject({ code: "unavailable", reason: "queue_unavailable" });
    }
  });

  test("the gateway lives, is not ready, and says that Redis is why", async () => {
    await server.halt();
    await unready();
    expect((await gateway.fetch("/healthz")).status).toBe(200);
    const answer = await gateway.fetch("/readyz");
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await answer.json()).toMatchObject({
      ready: false,
      reasons: [{ check: "redis", message: expect.stringContaining("Redis") }],
    });
  });
});

describe("once Redis is back", () => {
  test.each(["SIGKILL", "SIGTERM"] as const)(
    "after %s, the same gateway accepts runs and answers who waits for them",
    async (signal) => {
      await accepted();
      await server.restart({ signal });
      await ready();
      const worker = await startFakeWorker({ redisUrl: server.url });
      const response = await post({ prefer: "wait=20" });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ state: "finished", outcome: { kind: "exited", exitCode: 0 } });
      await worker.stop();
    },
  );

  test("nothing that was accepted before it was killed is lost, and all of it is executed, each run once", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) ids.push(await accepted());
    await server.restart({ signal: "SIGKILL" });
    await ready();
    for (const id of ids) expect(await get(id)).toMatchObject({ id, state: "queued" });
    const worker = await startFakeWorker({ redisUrl: server.url });
    for (const id of ids) expect(await get(id, { prefer: "wait=20" })).toMatchObject({ state: "finished" });
    expect(worker.claimed.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    await worker.stop();
  });

  test("who waited all the while is answered when the run ends", async () => {
    const waiting = post({ prefer: "wait=30" });
    const redis = new Redis(server.url);
    await eventually(async () => expect(await redis.keys("{mayfly}:run:*:waiters")).toHaveLength(1));
    redis.disconnect();
    await server.restart({ signal: "SIGKILL" });
    await ready();
    const worker = await startFakeWorker({ redisUrl: server.url });
    const response = await waiting;
    expect([response.status, await response.json()]).toMatchObject([200, { state: "finished" }]);
    await worker.stop();
  });
});

test("a gateway that was started while Redis was down becomes ready by itself", async () => {
  await server.halt();
  const early = await startGateway({ redisUrl: server.url });
  try {
    expect((await early.fetch("/readyz")).status).toBe(503);
    await server.resume();
    await eventually(async () => expect((await early.fetch("/readyz")).status).toBe(200));
    const worker = await startFakeWorker({ redisUrl: server.url });
    const response = await early.fetch("/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json", prefer: "wait=20" },
      body: JSON.stringify({ image: "busybox" }),
    });
    expect(response.status).toBe(200);
    await worker.stop();
  } finally {
    await early.stop();
  }
});
