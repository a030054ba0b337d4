// The consumer on a real queue: what it takes, what it leaves to others, and what it does when it is told to stop.

import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keys, QUEUE_PREFIX, queueName, transitionKeys } from "../../core/keys.ts";
import { ticketId } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { runTransition, transitions } from "../../core/transitions.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { type Demand, Ledger, type Share } from "../../worker/admission.ts";
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
const queueKey = (name: string) => `${QUEUE_PREFIX}:${queueName("default")}:${name}`;
const hasTicket = async (id: string) => (await redis.exists(queueKey(ticketId({ run: id, attempt: 1 })))) === 1;

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

/** A ledger that tells when it had no room. */
class WatchedLedger extends Ledger {
  refusals = 0;
  onRefusal: () => void = () => {};

  override take(demand: Demand): Share | undefined {
    const share = super.take(demand);
    if (!share) {
      this.refusals++;
      this.onRefusal();
    }
    return share;
  }
}

const MIB = 2 ** 20;
const ROOM = { cpus: 64, memoryBytes: 100 * MIB, pids: 100_000, slots: 64 };
const large = { limits: { memory: "64MiB" } };
const small = { limits: { memory: "16MiB" } };

describe("a run that has no room here now", () => {
  test.each([
    ["", {}],
    ["of a priority ", { priority: 7 }],
  ])("%sis handed back, is not asked for over and over, and is taken once there is room", async (_, more) => {
    const ledger = new WatchedLedger(ROOM);
    const { behave, end } = held();
    const worker = await start({ ledger, behave });
    const first = await submit(large);
    await inState(first, "running");
    const second = await submit({ ...large, ...more });
    const waiting = async () => (await redis.llen(queueKey("wait"))) + (await redis.zcard(queueKey("prioritized")));
    await eventually(async () => expect([ledger.refusals, await waiting()]).toEqual([1, 1]));

    // In the time of many round trips a consumer that spins would send many commands; this one sends none.
    const before = await commandsSent();
    for (let i = 0; i < 500; i++) await redis.ping();
    expect((await commandsSent()) - before).toBeLessThanOrEqual(2);
    expect(ledger.refusals).toBe(1);
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

  test("is taken also if room is made while it is being handed back", async () => {
    const ledger = new WatchedLedger(ROOM);
    const share = ledger.take({ cpus: 1, memoryBytes: 64 * MIB, pids: 1 });
    ledger.onRefusal = () => queueMicrotask(() => share?.());
    await start({ ledger });
    await finished(await submit(large));
  });

  test("is not overtaken by a smaller one on the same host", async () => {
    const ledger = new WatchedLedger(ROOM);
    const { behave, end } = held();
    const worker = await start({ ledger, behave });
    const first = await submit(large);
    await inState(first, "running");
    const second = await submit(large);
    await eventually(() => expect(ledger.refusals).toBe(1));
    const third = await submit(small);
    for (const id of [first, second, third]) end(id);
    await finished(third);
    await finished(second);
    expect(worker.claimed.map(({ id }) => id)).toEqual([first, second, third]);
  });
});

describe("a run that this host can never hold", () => {
  test("does not keep smaller ones from it, and goes to a host that can", async () => {
    const tiny = await start({ ledger: new Ledger(ROOM), hostId: "tiny" });
    const huge = await submit({ limits: { memory: "1GiB" } });
    const next = await submit(small);
    await finished(next);
    expect(await stateOf(huge)).toBe("queued");
    await start({ hostId: "big" });
    await finished(huge);
    expect(tiny.claimed.map(({ id }) => id)).toEqual([next]);
  });
});

describe("slots", () => {
  test("that are all taken keep the consumer from asking at all", async () => {
    const { behave, end } = held();
    await start({ capacity: { slots: 1 }, behave });
    const first = await submit();
    await inState(first, "running");
    const second = await submit();
    const before = await commandsSent();
    for (let i = 0; i < 200; i++) await redis.ping();
    expect((await commandsSent()) - before).toBeLessThanOrEqual(2);
    expect(await redis.llen(queueKey("active"))).toBe(0);
    for (const id of [first, second]) end(id);
    await finished(second);
  });
});

describe("a ticket", () => {
  test("whose run was cancelled is dropped, and its share is given back", async () => {
    const id = await submit();
    const outcome = JSON.stringify({ kind: "cancelled" });
    await runTransition(redis, transitions.cancel, transitionKeys.cancel(id), [id, outcome, 60_000]);
    expect(await hasTicket(id)).toBe(true);
    const worker = await start();
    await eventually(async () => expect(await hasTicket(id)).toBe(false));
    expect(worker.claimed).toEqual([]);
    await eventually(() => expect(worker.ledger.free).toEqual(worker.ledger.capacity));
  });

  test("that cannot be read is dropped, and the next is taken", async () => {
    const bad = await submit();
    await redis.hset(queueKey(ticketId({ run: bad, attempt: 1 })), "data", '{"command":"rm"}');
    const good = await submit();
    const worker = await start();
    await finished(good);
    expect(worker.claimed.map(({ id }) => id)).toEqual([good]);
    await eventually(async () => expect(await hasTicket(bad)).toBe(false));
  });

  test("is gone once its run was taken, while the run goes on", async () => {
    const { behave, end } = held();
    await start({ behave });
    const id = await submit();
    await inState(id, "running");
    await eventually(async () => expect(await hasTicket(id)).toBe(false));
    end(id);
    await finished(id);
  });
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
  await eventually(async () => expect(await redis.keys(queueKey("run_*"))).toEqual([]));
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

describe("a consumer that is told to stop", () => {
  test("takes nothing more, though runs wait", async () => {
    const worker = await start();
    worker.consumer.stop();
    const id = await submit();
    await worker.stop();
    expect(worker.claimed).toEqual([]);
    expect(await stateOf(id)).toBe("queued");
    await start({ hostId: "next" });
    await finished(id);
  });

  test("is idle only when what it was taking at that moment has been executed too", async () => {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const done: string[] = [];
    const worker = await start({
      behave: async (attempt) => {
        await attempt.exit(0);
        done.push(attempt.record.id);
      },
      wrapStore: (store) => {
        const claim = store.claim.bind(store);
        store.claim = async (...args) => {
          const record = await claim(...args);
          asked.resolve();
          await answer.promise; // The run is claimed in Redis; its answer is still on its way.
          return record;
        };
        return store;
      },
    });
    const id = await submit();
    await asked.promise;
    worker.consumer.stop();
    const idle = worker.consumer.idle().then(() => [...done]);
    setImmediate(() => answer.resolve());
    expect(await idle).toEqual([id]);
  });

  test("waits for what it has, and its shares are free again", async () => {
    const { behave, end } = held();
    const worker = await start({ behave });
    const ids = [await submit(), await submit()];
    for (const id of ids) await inState(id, "running");
    worker.consumer.stop();
    for (const id of ids) end(id);
    await worker.consumer.idle();
    expect(await Promise.all(ids.map(stateOf))).toEqual(["finished", "finished"]);
    expect(worker.ledger.taken).toBe(0);
  });
});

test("a consumer goes on after Redis was restarted under it", async () => {
  const worker = await start();
  const before = await submit();
  await finished(before);
  await server.restart({ signal: "SIGTERM" });
  await eventually(() => expect(gatewayRedis.status).toBe("ready"));
  const after = await submit();
  await eventually(async () => expect(await stateOf(after)).toBe("finished"));
  expect(worker.claimed.map(({ id }) => id)).toEqual([before, after]);
});

/** What Redis was asked so far, but for what this test itself asks meanwhile. */
async function commandsSent(): Promise<number> {
  const stats = await redis.info("commandstats");
  const calls = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return calls
    .filter(([, name]) => name !== "ping" && name !== "info" && !name?.startsWith("config"))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

describe("a second ticket of an attempt that this worker has", () => {
  test("is thrown away, and the attempt goes on alone", async () => {
    const { behave, end } = held();
    const worker = await start({ behave });
    const id = await submit();
    await inState(id, "running");
    const queue = new Queue(queueName("default"), { connection: gatewayRedis, prefix: QUEUE_PREFIX });
    const ticket = { run: id, attempt: 1, demand: { cpus: 1, memoryBytes: 1, pids: 1 } };
    await queue.add("run", ticket, { jobId: `${ticketId(ticket)}-again`, removeOnComplete: true });
    await eventually(async () => expect(await queue.count()).toBe(0));
    end(id);
    await finished(id);
    expect(worker.claimed.filter((each) => each.id === id)).toHaveLength(1);
    await queue.close();
  });
});
