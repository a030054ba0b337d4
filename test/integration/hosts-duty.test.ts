// What operators tell hosts: to take no new runs, to be rid of those that they have, to take runs again. Real gateways, a real
// Redis, and workers without containers.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { HostRecord } from "../../core/host.ts";
import { keys } from "../../core/keys.ts";
import type { Run } from "../../core/run.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateways: Gateway[];
let workers: FakeWorker[];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateways = [await startGateway({ redisUrl: server.url }), await startGateway({ redisUrl: server.url })];
});

beforeEach(async () => {
  workers = [];
  await redis.flushall();
});

afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
});

afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  redis.disconnect();
  await server.stop();
});

async function start(hostId: string, options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const worker = await startFakeWorker({
    ...{ redisUrl: server.url, hostId, onAbandon: () => {} },
    ...options,
  });
  workers.push(worker);
  return worker;
}

const gateway = (at: 0 | 1) => gateways[at] as Gateway;
const post = (path: string, body?: object, at: 0 | 1 = 0) =>
  gateway(at).fetch(path, {
    method: "POST",
    ...(body ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {}),
  });
const tell = async (host: string, verb: string, body?: object) => {
  const answer = await post(`/v1/hosts/${host}/${verb}`, body);
  return { status: answer.status, host: (await answer.json()) as HostRecord };
};
const submit = async () => (await (await post("/v1/runs", { image: "busybox" }, 1)).json()) as Run;
const run = async (id: string, waitSeconds = 0) =>
  (await (await gateway(1).fetch(`/v1/runs/${id}`, { headers: { prefer: `wait=${waitSeconds}` } })).json()) as Run;
const hostNow = async (id: string) => (await (await gateway(1).fetch(`/v1/hosts/${id}`)).json()) as HostRecord;
const eventually = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 5 });

/** Attempts that go on until they are let go. */
function gate() {
  const held: FakeAttempt[] = [];
  const open = Promise.withResolvers<void>();
  const behave = async (attempt: FakeAttempt) => {
    await attempt.started();
    held.push(attempt);
    await open.promise;
    await attempt.exit(0);
  };
  return { behave, held, letGo: () => open.resolve() };
}

describe("what is refused", () => {
  it("names a host that does not live", async () => {
    for (const verb of ["cordon", "uncordon"]) {
      const answer = await post(`/v1/hosts/nobody/${verb}`);
      expect([answer.status, await answer.json()]).toMatchObject([404, { reason: "host_not_found" }]);
    }
    expect(await redis.exists(keys.duty("nobody"))).toBe(0);
  });

  it.each([
    [{ timeout: "5" }, "timeout"],
    [{ timeout: "25h" }, "timeout"],
    [{ within: "5s" }, "within"],
  ])("names the field of %j", async (body, field) => {
    await start("a");
    const answer = await post("/v1/hosts/a/drain", body);
    expect([answer.status, await answer.json()]).toMatchObject([400, { errors: [{ field }] }]);
    expect((await hostNow("a")).state).toBe("ready");
  });
});

describe("a cordoned host", () => {
  it("is given no run from the moment that the call is answered, through any gateway, and goes on with what it has", async () => {
    const { behave, held, letGo } = gate();
    const a = await start("a", { behave });
    const before = await submit();
    await eventually(() => expect(held).toHaveLength(1));
    expect(await tell("a", "cordon")).toMatchObject({
      status: 200,
      host: { id: "a", state: "cordoned", running: 1, free: { slots: 63 }, duty: { toldAt: expect.any(String) } },
    });
    const b = await start("b");
    const after = await Promise.all(Array.from({ length: 20 }, submit));
    for (const { id } of after) expect((await run(id, 10)).state).toBe("finished");
    expect([a.claimed.length, b.claimed.length]).toEqual([1, 20]);
    expect((await run(before.id)).state).toBe("running");
    letGo();
    expect((await run(before.id, 10)).outcome).toEqual({ kind: "exited", exitCode: 0 });
  });

  it("leaves in the queue what waits there, and takes it once it is uncordoned", async () => {
    const a = await start("a");
    await tell("a", "cordon");
    const { id } = await submit();
    expect((await run(id, 1)).state).toBe("queued");
    expect(await tell("a", "uncordon")).toMatchObject({ status: 200, host: { state: "ready" } });
    expect((await run(id, 10)).state).toBe("finished");
    expect(a.claimed.map((record) => record.id)).toEqual([id]);
  });

  it("is one still when its worker has been started again, before it takes anything", async () => {
    const first = await start("a");
    await tell("a", "cordon");
    await first.stop();
    const { id } = await submit();
    const second = await start("a");
    expect(await hostNow("a")).toMatchObject({ state: "cordoned" });
    expect((await run(id, 1)).state).toBe("queued");
    expect(second.claimed).toEqual([]);
  });

  it("obeys at its next beat if the message was lost", async () => {
    await start("a");
    await redis.set(keys.duty("a"), JSON.stringify({ toldAt: new Date(0).toISOString() }));
    await eventually(async () => expect(await hostNow("a")).toMatchObject({ state: "cordoned" }));
  });

  it("stays away from runs if what it was told cannot be read", async () => {
    await redis.set(keys.duty("a"), "{");
    await start("a");
    expect(await hostNow("a")).toMatchObject({ state: "cordoned" });
  });
});

describe("a host that drains", () => {
  it("is cordoned once the last run has ended", async () => {
    const { behave, held, letGo } = gate();
    await start("a", { behave });
    const ids = [(await submit()).id, (await submit()).id];
    await eventually(() => expect(held).toHaveLength(2));
    expect(await tell("a", "drain", { timeout: "1h" })).toMatchObject({
      status: 200,
      host: { state: "draining", running: 2, duty: { drainUntil: expect.any(String) } },
    });
    letGo();
    for (const id of ids) expect((await run(id, 10)).outcome).toEqual({ kind: "exited", exitCode: 0 });
    await eventually(async () => expect(await hostNow("a")).toMatchObject({ state: "cordoned", running: 0 }));
  });

  it("gives up what is left when the time is over, and not before", async () => {
    const { behave, held, letGo } = gate();
    const onAbandon = vi.fn(letGo);
    await start("a", { behave, onAbandon });
    await submit();
    await eventually(() => expect(held).toHaveLength(1));
    await tell("a", "drain", { timeout: "1h" });
    expect(onAbandon).not.toHaveBeenCalled();
    await tell("a", "drain", { timeout: "50ms" });
    await eventually(async () => expect(await hostNow("a")).toMatchObject({ state: "cordoned", running: 0 }));
    expect(onAbandon).toHaveBeenCalled();
  });

  it("goes on with its runs, and takes new ones, when it is uncordoned before its time is over", async () => {
    const { behave, held, letGo } = gate();
    const onAbandon = vi.fn();
    const a = await start("a", { behave, onAbandon });
    await submit();
    await eventually(() => expect(held).toHaveLength(1));
    await tell("a", "drain", { timeout: "1h" });
    expect(await tell("a", "uncordon")).toMatchObject({ host: { state: "ready", running: 1 } });
    await submit();
    await eventually(() => expect(a.claimed).toHaveLength(2));
    letGo();
    expect(onAbandon).not.toHaveBeenCalled();
  });

  it("is told of as one that has none at once if it has none", async () => {
    await start("a");
    expect(await tell("a", "drain", {})).toMatchObject({ status: 200, host: { state: "cordoned", running: 0 } });
  });
});
