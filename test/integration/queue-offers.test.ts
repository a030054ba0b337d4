// Room that hosts offer: what is handed over for it, what waits all the same, and what becomes of messages that are lost.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { monotonicMs } from "../../core/clock.ts";
import { channels, keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { RunStore as WorkerStore } from "../../worker/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gatewayRedis: Redis;
let gateways: GatewayStore[];
let workers: FakeWorker[];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gatewayRedis = connectGateway(server.url);
  await gatewayRedis.connect();
});

beforeEach(async () => {
  workers = [];
  await redis.flushall();
  const limits = { maxQueued: 1000, maxKept: 1000, maxStdinBytes: 100, retentionMs: 60_000 };
  gateways = [0, 1].map(() => new GatewayStore({ redis: gatewayRedis, ...limits }));
});

afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
});

afterAll(async () => {
  redis.disconnect();
  gatewayRedis.disconnect();
  await server.stop();
});

async function start(options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const worker = await startFakeWorker({ redisUrl: server.url, ...options });
  workers.push(worker);
  return worker;
}

const submit = (request: Partial<RunRequest> = {}, gateway = gateways[0]) =>
  (gateway as GatewayStore).submit({ tenant: "acme", request: { image: "busybox", ...request }, waiter: undefined });
const fieldsOf = (id: string) => redis.hgetall(keys.run(id));
const finished = (id: string) => eventually(async () => expect((await fieldsOf(id)).state).toBe("finished"));
const waits = async (id: string) => (await redis.zscore(keys.queued("default"), id)) !== null;
const offers = async () => Object.values(await redis.hgetall(keys.offers("default"))).map((text) => JSON.parse(text));

/** Attempts that go on until the test lets them all end. */
function held() {
  const gate = Promise.withResolvers<void>();
  const behave = async (attempt: FakeAttempt) => {
    await attempt.started();
    await gate.promise;
    await attempt.exit(0);
  };
  return { behave, end: () => gate.resolve() };
}

describe("a run that finds a host with room", () => {
  test("is handed to it in the step that accepts it, and waits in no line", async () => {
    const { behave, end } = held();
    const worker = await start({ hostId: "near", behave });
    const id = await submit();
    expect(await fieldsOf(id)).toMatchObject({ host: "near", attempt: "1" });
    expect(["starting", "running"]).toContain((await fieldsOf(id)).state);
    expect(await waits(id)).toBe(false);
    await eventually(() => expect(worker.claimed.map((record) => record.id)).toEqual([id]));
    expect(worker.claimed[0]).toMatchObject({ tenant: "acme", request: { image: "busybox" }, stdinClosed: true });
    end();
    await finished(id);
  });

  test("is held from a moment on that is not after it was given", async () => {
    const takenAt: number[] = [];
    await start({ onTaken: (ms) => takenAt.push(ms) });
    const beforeMs = monotonicMs();
    await finished(await submit());
    expect(takenAt[0]).toBeLessThanOrEqual(beforeMs);
    expect(takenAt[0]).toBeGreaterThan(beforeMs - 10_000);
  });

  test("goes to the one that has most", async () => {
    const { behave, end } = held();
    const small = await start({ hostId: "small", capacity: { cpus: 2 }, behave });
    const large = await start({ hostId: "large", capacity: { cpus: 5 }, behave });
    const ids = [await submit(), await submit(), await submit()];
    await eventually(() => expect(large.claimed).toHaveLength(3));
    const last = await submit();
    await eventually(() => expect(small.claimed.length + large.claimed.length).toBe(4));
    end();
    for (const id of [...ids, last]) await finished(id);
  });

  test("leaves it the rest, and gives it back at its end", async () => {
    const { behave, end } = held();
    await start({ capacity: { cpus: 4, slots: 3 }, behave });
    const id = await submit({ limits: { cpus: 3 } });
    expect(await offers()).toMatchObject([{ cpus: 1, slots: 2, given: 1 }]);
    expect(await redis.pttl(keys.offers("default"))).toBeGreaterThan(0); // It does not outlive its hosts.
    end();
    await finished(id);
    await eventually(async () => expect(await offers()).toMatchObject([{ cpus: 4, slots: 3, given: 1 }]));
  });
});

test("a large host is given run after run: none is made to wait because the host tells its room seldom", async () => {
  await start({ capacity: { cpus: 10_000, memoryBytes: 2 ** 45, pids: 10_000_000, slots: 4_000 } });
  for (let i = 0; i < 200; i++) {
    const id = await submit();
    expect((await fieldsOf(id)).host).toBe("fake");
    await finished(id);
  }
});

describe("a run waits", () => {
  test("if no host offers as much", async () => {
    const { behave, end } = held();
    const worker = await start({ capacity: { cpus: 2 }, behave });
    const first = await submit({ limits: { cpus: 2 } });
    const second = await submit();
    expect((await fieldsOf(second)).state).toBe("queued");
    expect(await waits(second)).toBe(true);
    end();
    for (const id of [first, second]) await finished(id);
    expect(worker.claimed.map(({ id }) => id)).toEqual([first, second]);
  });

  test("if others wait, though there would be room for it: nobody is overtaken", async () => {
    const { behave, end } = held();
    const worker = await start({ capacity: { cpus: 4 }, behave });
    const ids = [await submit({ limits: { cpus: 3 } }), await submit({ limits: { cpus: 2 } }), await submit()];
    const state = async (id: string) => (await fieldsOf(id)).state;
    expect(await Promise.all(ids.slice(1).map(state))).toEqual(["queued", "queued"]);
    end();
    for (const id of ids) await finished(id);
    expect(worker.claimed.map(({ id }) => id)).toEqual(ids);
  });

  test("if those who wait are of another pool, it does not", async () => {
    await start({ hostId: "near" });
    const elsewhere = await submit({ pool: "elsewhere" });
    expect((await fieldsOf(elsewhere)).state).toBe("queued");
    expect(await fieldsOf(await submit())).toMatchObject({ host: "near" });
  });

  test("if the host has gone, or has not said for long that it is there", async () => {
    const gone = await start({ behave: async () => {} });
    gone.subscriber.disconnect();
    await eventually(async () => {
      const [holder = ""] = await redis.hkeys(keys.offers("default"));
      expect(await redis.pubsub("NUMSUB", channels.handed(holder))).toEqual([channels.handed(holder), 0]);
    });
    const room = { cpus: 9, memoryBytes: 2 ** 40, pids: 999, slots: 9 };
    const stale = { host: "x", series: 1, given: 0, untilMs: 1, ...room, capacity: room, onTheWay: [] };
    await redis.hset(keys.offers("default"), "long-ago", JSON.stringify(stale));
    const listener = redis.duplicate();
    await listener.subscribe(channels.handed("long-ago"));
    const id = await submit({}, gateways[1]);
    listener.disconnect();
    expect(await waits(id)).toBe(true);
    expect(await redis.hexists(keys.offers("default"), "long-ago")).toBe(0); // Whoever looks takes it away.
  });
});

describe("room", () => {
  test("is never promised twice, whoever takes it and however", async () => {
    let most = 0;
    let now = 0;
    const behave = async (attempt: FakeAttempt) => {
      most = Math.max(most, ++now);
      await attempt.started();
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
      await attempt.exit(0);
      now--;
    };
    const worker = await start({ capacity: { slots: 3 }, behave });
    const ids: string[] = [];
    for (let round = 0; round < 40; round++) {
      ids.push(...(await Promise.all([submit(), submit({}, gateways[1]), submit()])));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 6));
    }
    for (const id of ids) await finished(id);
    expect(most).toBeLessThanOrEqual(3);
    expect(worker.claimed.map(({ id }) => id).sort()).toEqual(ids.sort());
    expect(worker.claimed.every(({ attempt }) => attempt === 1)).toBe(true);
    await eventually(async () => expect(await offers()).toMatchObject([{ slots: 3 }]));
  });

  test("that was given to a run which is on its way is not offered again", async () => {
    const store = new WorkerStore(redis, 60_000, "life-1");
    const capacity = { cpus: 2, memoryBytes: 2 ** 30, pids: 1000, slots: 9 };
    const room = (cpus: number, seen: number, series = 1) => ({
      offer: { ...capacity, host: "h", cpus, capacity },
      heard: { series, seen },
    });
    expect(await store.offer("default", room(2, 0))).toEqual({ given: 0, waiting: 0 });
    const listener = redis.duplicate();
    await listener.subscribe(channels.handed("life-1"));
    const given = [await submit(), await submit()];
    const waiting = await submit();
    for (const id of given) expect(await fieldsOf(id)).toMatchObject({ state: "starting", holder: "life-1" });
    expect(await store.offer("default", room(2, 0))).toEqual({ given: 2, waiting: 1 });
    expect(await offers()).toMatchObject([{ cpus: 0, slots: 7 }]);
    expect(await store.offer("default", room(0, 1))).toEqual({ given: 2, waiting: 1 });
    // The first has come and gone, the second is still on its way: there is just enough for the third.
    expect(await store.offer("default", room(2, 1))).toEqual({ given: 3, waiting: 0 });
    expect(await fieldsOf(waiting)).toMatchObject({ state: "starting", holder: "life-1" });
    expect(await offers()).toMatchObject([{ cpus: 0, given: 3 }]);
    expect(await store.withdraw("default", 1)).toBe(3);
    expect(await store.offer("default", room(2, 0, 2))).toEqual({ given: 0, waiting: 0 });
    listener.disconnect();
  });
});

test("of a run with a long request only the name is said, lest Redis drop the host's connection; the host reads the rest", async () => {
  const worker = await start({ hostId: "near" });
  const env = { LONG: "x".repeat(100_000) };
  const id = await submit({ env });
  await finished(id);
  expect(worker.claimed).toMatchObject([{ id, request: { env } }]);
});

describe("a worker", () => {
  test("that lost a message takes the run when its connection is back", async () => {
    const worker = await start();
    const listeners = worker.subscriber.listeners("message");
    worker.subscriber.removeAllListeners("message");
    const id = await submit();
    await eventually(async () => expect((await fieldsOf(id)).state).toBe("starting"));
    for (const listener of listeners) worker.subscriber.on("message", listener as (...args: unknown[]) => void);
    worker.subscriber.disconnect(true);
    await finished(id);
    expect(worker.claimed.map((record) => record.id)).toEqual([id]);
    await finished(await submit()); // And goes on.
  });

  test("that stops takes what was given to it before, and nothing after", async () => {
    const { behave, end } = held();
    const worker = await start({ behave });
    const submitted = Promise.all(Array.from({ length: 20 }, (_, i) => submit({}, gateways[i % 2])));
    worker.offers.stop();
    const ids = await submitted;
    await worker.offers?.idle(); // From now on it offers nothing any more.
    const later = await submit();
    end();
    await worker.stop();
    expect(await offers()).toEqual([]);
    const states = await Promise.all(ids.map(async (id) => (await fieldsOf(id)).state));
    const taken = worker.claimed.map(({ id }) => id);
    expect(ids.filter((_, i) => states[i] === "finished").sort()).toEqual(taken.sort());
    expect(new Set(states).isSubsetOf(new Set(["finished", "queued"]))).toBe(true);
    expect((await fieldsOf(later)).state).toBe("queued");
  });

  test("that cannot read what it is given leaves it to its lease", async () => {
    const worker = await start();
    const [holder = ""] = await redis.hkeys(keys.offers("default"));
    await redis.publish(channels.handed(holder), "nonsense");
    await finished(await submit());
    expect(worker.claimed).toHaveLength(1);
  });
});
