// Runs that wait, and the hosts that room makes them go to: which is next, what is left to others, and what a host does that stops.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { Ledger } from "../../worker/admission.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gatewayRedis: Redis;
let gateway: GatewayStore;
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
  gateway = new GatewayStore({
    redis: gatewayRedis,
    maxQueued: 1000,
    maxKept: 1000,
    maxStdinBytes: 100,
    retentionMs: 60_000,
  });
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

const submit = (request: Partial<RunRequest> = {}) =>
  gateway.submit({ tenant: "acme", request: { image: "busybox", ...request }, waiter: undefined });
const stateOf = (id: string) => redis.hget(keys.run(id), "state");
/** Where there is no event to wait for: looks again and again, for a while. */
const inState = (id: string, state: string) => eventually(async () => expect(await stateOf(id)).toBe(state));
const finished = (id: string) => inState(id, "finished");
/** Attempts that go on until the test lets them end, by run. */
function held() {
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const gate = (id: string) => {
    const made = gates.get(id) ?? Promise.withResolvers<void>();
    gates.set(id, made);
    return made;
  };
  const behave = async (attempt: FakeAttempt) => {
    await attempt.started();
    await gate(attempt.record.id).promise;
    await attempt.exit(0);
  };
  return { behave, end: (id: string) => gate(id).resolve() };
}

const MIB = 2 ** 20;
const ROOM = { cpus: 64, memoryBytes: 100 * MIB, pids: 100_000, slots: 64 };
const large = { limits: { memory: "64MiB" } };
const small = { limits: { memory: "16MiB" } };

/** In the time of many round trips a worker that asks over and over would send many commands. */
async function expectSilence(): Promise<void> {
  const before = await commandsSent();
  for (let i = 0; i < 500; i++) await redis.ping();
  expect((await commandsSent()) - before).toBeLessThanOrEqual(2); // It hears that somebody waits, and there may be a beat.
}

describe("a run that has no room here now", () => {
  test("is not asked for over and over, and is given once there is room", async () => {
    const { behave, end } = held();
    const worker = await start({ ledger: new Ledger(ROOM), behave });
    const first = await submit(large);
    await inState(first, "running");
    const second = await submit(large);
    await expectSilence();
    expect(await stateOf(second)).toBe("queued");
    end(first);
    await inState(second, "running");
    end(second);
    await finished(second);
    expect(worker.claimed.map(({ id }) => id)).toEqual([first, second]);
  });

  test("goes to another host that has room", async () => {
    const { behave, end } = held();
    const busy = await start({ ledger: new Ledger(ROOM), behave });
    const first = await submit(large);
    await inState(first, "running");
    const other = await start({ hostId: "other" });
    const second = await submit(large);
    await finished(second);
    expect(other.claimed.map(({ id }) => id)).toEqual([second]);
    expect(busy.claimed.map(({ id }) => id)).toEqual([first]);
    end(first);
  });

  test("is not overtaken by a smaller one on the same host", async () => {
    const { behave, end } = held();
    const worker = await start({ ledger: new Ledger(ROOM), behave });
    const first = await submit(large);
    await inState(first, "running");
    const second = await submit(large);
    const third = await submit(small);
    for (const id of [first, second, third]) end(id);
    await finished(third);
    await finished(second);
    expect(worker.claimed.map(({ id }) => id)).toEqual([first, second, third]);
  });
});

describe("a run that this host can never hold", () => {
  test("does not keep smaller ones from it, and goes to a host that can", async () => {
    const huge = await submit({ limits: { memory: "1GiB" } });
    const tiny = await start({ ledger: new Ledger(ROOM), hostId: "tiny" });
    const next = await submit(small);
    await finished(next);
    expect(await stateOf(huge)).toBe("queued");
    await start({ hostId: "big" });
    await finished(huge);
    expect(tiny.claimed.map(({ id }) => id)).toEqual([next]);
  });

  test("is refused at once if that is so of every host there is, and waits if there is none", async () => {
    const before = await submit({ limits: { memory: "1GiB" } });
    expect(await stateOf(before)).toBe("queued");
    await start({ ledger: new Ledger(ROOM) });
    await expect(submit({ limits: { memory: "1GiB" } })).rejects.toMatchObject({ reason: "no_host_large_enough" });
    await start({ hostId: "big" });
    await finished(await submit({ limits: { memory: "1GiB" } }));
  });
});

describe("room that is kept for a large run", () => {
  test("is kept on one host: others go on with smaller ones", async () => {
    const { behave, end } = held();
    const half = { limits: { memory: "50MiB" } };
    const hosts = [
      await start({ ledger: new Ledger(ROOM), hostId: "a", behave }),
      await start({ ledger: new Ledger(ROOM), hostId: "b", behave }),
    ];
    const [one, two] = [await submit(half), await submit(half)];
    for (const id of [one, two]) await inState(id, "running");
    expect(hosts.map(({ claimed }) => claimed.length)).toEqual([1, 1]);
    const whole = await submit({ limits: { memory: "100MiB" } });
    const [third, fourth] = [await submit(half), await submit(half)];
    await eventually(async () =>
      expect([await stateOf(third), await stateOf(fourth)].toSorted()).toEqual(["queued", "running"]),
    );
    expect(await stateOf(whole)).toBe("queued");
    for (const id of [one, two, third, fourth, whole]) end(id);
    for (const id of [whole, third, fourth]) await finished(id);
  });
});

test("a host whose slots are all taken asks for nothing", async () => {
  const { behave, end } = held();
  await start({ capacity: { slots: 1 }, behave });
  const first = await submit();
  await inState(first, "running");
  const second = await submit();
  await expectSilence();
  for (const id of [first, second]) end(id);
  await finished(second);
});

test("of two hosts, exactly one executes each run", async () => {
  const times = new Map<string, number>();
  const behave = async (attempt: FakeAttempt) => {
    times.set(attempt.record.id, (times.get(attempt.record.id) ?? 0) + 1);
    await attempt.started();
    expect(await attempt.exit(0)).toBe(true);
  };
  const [a, b] = [await start({ behave, hostId: "a" }), await start({ behave, hostId: "b" })];
  const ids = await Promise.all(Array.from({ length: 200 }, () => submit()));
  await Promise.all(ids.map(finished));
  expect(times.size).toBe(200);
  expect([...times.values()].every((count) => count === 1)).toBe(true);
  expect(a.claimed.length + b.claimed.length).toBe(200);
  expect(await redis.zcard(keys.queued("default"))).toBe(0);
  expect(await redis.zcard(keys.deadlines)).toBe(0);
  await eventually(async () =>
    expect(await redis.exists(keys.use("acme"), keys.lines("default"), keys.line("default:acme"))).toBe(0),
  );
});

test("more urgent runs are taken first, and of one urgency the first that came", async () => {
  const order: [Partial<RunRequest>, string][] = [
    [{ priority: 9 }, "last"],
    [{ priority: 1 }, "second"],
    [{ priority: 1 }, "third"],
    [{}, "first"],
  ];
  const names = new Map<string, string>();
  for (const [request, name] of order) names.set(await submit(request), name);
  const worker = await start({ capacity: { slots: 1 } });
  await Promise.all([...names.keys()].map(finished));
  expect(worker.claimed.map(({ id }) => names.get(id))).toEqual(["first", "second", "third", "last"]);
});

test("a run goes to its own pool, and to no other", async () => {
  const other = await start({ pool: "gpu", hostId: "gpu" });
  const id = await submit({ pool: "gpu" });
  const mine = await submit();
  await finished(id);
  expect(other.claimed.map((record) => record.id)).toEqual([id]);
  expect(await stateOf(mine)).toBe("queued");
});

describe("a worker that is told to stop", () => {
  test("takes nothing more, though runs wait", async () => {
    const worker = await start();
    worker.offers.stop();
    await worker.offers.idle();
    const id = await submit();
    await worker.stop();
    expect(worker.claimed).toEqual([]);
    expect(await stateOf(id)).toBe("queued");
    await start({ hostId: "next" });
    await finished(id);
  });

  test("waits for what it has, and its shares are free again", async () => {
    const { behave, end } = held();
    const worker = await start({ behave });
    const ids = [await submit(), await submit()];
    for (const id of ids) await inState(id, "running");
    const stopped = worker.stop();
    for (const id of ids) end(id);
    await stopped;
    expect(await Promise.all(ids.map(stateOf))).toEqual(["finished", "finished"]);
    expect(worker.ledger.taken).toBe(0);
  });
});

test("a worker goes on after Redis was restarted under it", async () => {
  const worker = await start();
  const before = await submit();
  await finished(before);
  await server.restart({ signal: "SIGTERM" });
  await eventually(() => expect(gatewayRedis.status).toBe("ready"));
  const after = await submit();
  await eventually(async () => expect(await stateOf(after)).toBe("finished"));
  expect(worker.claimed.map(({ id }) => id)).toEqual([before, after]);
});

/** How many scripts Redis was asked to run so far. */
async function commandsSent(): Promise<number> {
  const stats = await redis.info("commandstats");
  const calls = [...stats.matchAll(/^cmdstat_(?:evalsha|eval):calls=(\d+)/gm)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}
