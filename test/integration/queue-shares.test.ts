// What the queue keeps to between tenants, keys and moments: fair shares, quotas, gates, delays; and what it says of those who wait.

import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import { parseRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { Reaper } from "../../gateway/dispatch/reaper.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { RunStore as WorkerStore } from "../../worker/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { heardLog } from "../helpers/heard-log.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gatewayRedis: Redis;
let gateway: GatewayStore;
let worker: WorkerStore;
let series = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gatewayRedis = connectGateway(server.url);
  await gatewayRedis.connect();
  worker = new WorkerStore(redis, 60_000, "life-1");
});
beforeEach(async () => {
  await redis.flushall();
  const limits = { maxQueued: 1000, maxKept: 10_000, maxStdinBytes: 100, retentionMs: 60_000 };
  gateway = new GatewayStore({ redis: gatewayRedis, ...limits });
});
afterAll(async () => {
  redis.disconnect();
  gatewayRedis.disconnect();
  await server.stop();
});

const submit = (tenant: string, request: Partial<RunRequest> = {}, idempotencyKey?: string) =>
  gateway.submit({ tenant, request: { image: "busybox", ...request }, waiter: undefined, idempotencyKey });
const record = async (id: string) => parseRecord(await redis.hgetall(keys.run(id)));
const stateOf = (id: string) => redis.hget(keys.run(id), "state");
const ROOM = { cpus: 64, memoryBytes: 2 ** 40, pids: 1_000_000, slots: 64 };
const why = async (id: string) => {
  const found = await record(id);
  return found && gateway.why(found);
};

interface Given {
  readonly id: string;
  readonly tenant: string;
  readonly attempt: number;
}

/** A host with so many slots tells its room, and is given what is next. */
async function offer(slots: number, room = ROOM): Promise<Given[]> {
  const before = new Set(await redis.zrange(keys.queued("default"), "0", "-1"));
  series++;
  await worker.offer("default", {
    offer: { host: "h", ...room, slots, capacity: room },
    heard: { series, seen: 0 },
  });
  await worker.withdraw("default", series);
  const after = new Set(await redis.zrange(keys.queued("default"), "0", "-1"));
  const given = await Promise.all([...before.difference(after)].map(record));
  return given.filter((each) => each !== undefined).map(({ id, tenant, attempt }) => ({ id, tenant, attempt }));
}

async function end(given: Given): Promise<void> {
  const outcome = { kind: "exited", exitCode: 0 } as const;
  const receipt = { host: "h", driver: "fake", attempt: given.attempt, phases: {} };
  expect(await worker.finish(given, { outcome, receipt, ran: true, stdout: undefined, stderr: undefined })).toBe(true);
}

/** One slot, run after run: whose turn it was. */
async function turns(count: number): Promise<string[]> {
  const served: string[] = [];
  for (let i = 0; i < count; i++) {
    const [given] = await offer(1);
    if (!given) break;
    served.push(given.tenant);
    await end(given);
  }
  return served;
}

type Account = readonly [v: number, n: number, s: number];

/** Of a tenant in the pool: share, size of what is on hosts, and sum of the moments it began. */
async function change(tenant: string, by: (account: Account) => Account): Promise<Account> {
  const text = (await redis.hget(keys.shares("default"), `of:${tenant}`)) ?? "0 0 0";
  const account = by(text.split(" ").map(Number) as unknown as Account);
  await redis.hset(keys.shares("default"), `of:${tenant}`, account.join(" "));
  return account;
}

const countOf = (served: readonly string[], tenant: string) => served.filter((each) => each === tenant).length;

describe("between tenants", () => {
  test("one that has one run is next, however many another has waiting", async () => {
    for (let i = 0; i < 100; i++) await submit("flood");
    expect(await turns(10)).toEqual(Array(10).fill("flood"));
    await submit("single");
    expect(countOf(await turns(2), "single")).toBe(1);
  });

  test("turns are taken in proportion to the weights", async () => {
    await redis.hset(keys.tenant("heavy"), "weight", 3);
    for (let i = 0; i < 60; i++) for (const tenant of ["heavy", "light"]) await submit(tenant);
    const served = await turns(40);
    expect(countOf(served, "heavy")).toBeGreaterThanOrEqual(28);
    expect(countOf(served, "heavy")).toBeLessThanOrEqual(32);
  });

  test("slots that come free at once are shared out", async () => {
    for (let i = 0; i < 30; i++) await submit("a");
    for (let i = 0; i < 30; i++) await submit("b");
    const served = (await offer(20)).map(({ tenant }) => tenant);
    expect([countOf(served, "a"), countOf(served, "b")]).toEqual([10, 10]);
  });

  test("one whose runs last long gets no more slots than one whose runs are short", async () => {
    for (let i = 0; i < 20; i++) for (const tenant of ["long", "short"]) await submit(tenant);
    const first = await offer(4);
    expect(
      countOf(
        first.map(({ tenant }) => tenant),
        "long",
      ),
    ).toBe(2);
    // As if they had been there for an hour: what they hold counts while they hold it.
    for (const { id, tenant } of first) {
      if (tenant !== "long") continue;
      await redis.hincrby(keys.run(id), "claimedAt", -3_600_000);
      await change("long", ([v, n, s]) => [v, n, s - 3_600_000]);
    }
    for (const given of first) if (given.tenant === "short") await end(given);
    expect((await offer(2)).map(({ tenant }) => tenant)).toEqual(["short", "short"]);
  });

  test("nobody saves up by asking for nothing, and nobody pays for long for what it had alone", async () => {
    for (let i = 0; i < 30; i++) await submit("busy");
    await turns(10);
    const [had] = await change("busy", ([v, n, s]) => [v + 3_600_000, n, s]); // It had an hour, while nobody else wanted it.
    await redis.hset(keys.shares("default"), "clock", String(had));
    for (let i = 0; i < 30; i++) await submit("new");
    const served = await turns(20);
    expect(countOf(served, "new")).toBeGreaterThanOrEqual(9);
    expect(countOf(served, "new")).toBeLessThanOrEqual(11);
  });

  test("over any walk, tenants that always wait are never more than a few turns apart", async () => {
    const walk = fc.array(fc.record({ slots: fc.integer({ min: 1, max: 4 }), ends: fc.boolean() }), {
      minLength: 5,
      maxLength: 25,
    });
    await fc.assert(
      fc.asyncProperty(walk, async (steps) => {
        await redis.flushall();
        for (let i = 0; i < 60; i++) for (const tenant of ["a", "b", "c"]) await submit(tenant);
        const served = { a: 0, b: 0, c: 0 };
        let held: Given[] = [];
        for (const { slots, ends } of steps) {
          const given = await offer(slots);
          for (const { tenant } of given) served[tenant as "a"]++;
          held.push(...given);
          // All at once, so that what each was charged for is the same but for milliseconds; a turn is worth twenty.
          if (ends) await Promise.all(held.map(end));
          if (ends) held = [];
        }
        const counts = Object.values(served);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(6);
      }),
      { numRuns: 10 },
    );
  });

  test("of a tenant that has nothing any more nothing is counted", async () => {
    await submit("gone");
    await turns(1);
    await change("gone", ([v, n, s]) => {
      expect([n, s]).toEqual([0, 0]);
      return [v, n, s];
    });
    expect(await redis.exists(keys.use("gone"), keys.lines("default"), keys.line("default:gone"))).toBe(0);
  });
});

describe("a run that waits for something else than room", () => {
  test.each([
    ["a moment", { delay: "1h" }],
    ["its key", { concurrency: { key: "k", max: 1 } }],
  ])("(%s) makes nobody else wait, and no host ask", async (_, request) => {
    await submit("patient", request);
    await submit("patient", request);
    await offer(1); // Of two with one key this is the first.
    series++;
    const listener = redis.duplicate();
    await listener.subscribe("{mayfly}:handed:life-1");
    const room = { offer: { host: "h", ...ROOM, capacity: ROOM }, heard: { series, seen: 0 } };
    expect(await worker.offer("default", room)).toMatchObject({ waiting: 0 });
    expect(await stateOf(await submit("other"))).toBe("starting");
    listener.disconnect();
  });
});

describe("a tenant's quota", () => {
  test.each([
    ["running", { running: 2 }, {}],
    ["cpus", { cpus: 2 }, {}],
    ["memory", { memoryBytes: 2 ** 29 }, {}],
  ])(
    "of %s is never exceeded, keeps nobody else waiting, and lets the next in when one ends",
    async (limit, quota, request) => {
      await redis.hset(keys.tenant("capped"), quota);
      const ids = [];
      for (let i = 0; i < 4; i++) ids.push(await submit("capped", request));
      await submit("free");
      const given = await offer(10);
      expect(given.map(({ tenant }) => tenant).toSorted()).toEqual(["capped", "capped", "free"]);
      expect(await why(ids[3] ?? "")).toEqual({ reason: "tenant_quota", position: 2, limit });
      expect(await offer(10)).toEqual([]);
      const [one] = given.filter(({ tenant }) => tenant === "capped");
      if (one) await end(one);
      expect((await offer(10)).map(({ tenant }) => tenant)).toEqual(["capped"]);
    },
  );

  test("that a run exceeds by itself refuses it at once, by name", async () => {
    await redis.hset(keys.tenant("capped"), { cpus: 2 });
    await expect(submit("capped", { limits: { cpus: 3 } })).rejects.toMatchObject({
      reason: "quota_exceeded",
      details: { limit: "cpus" },
    });
    expect(await redis.keys(keys.run("*"))).toEqual([]);
  });

  test("of queued runs refuses one more, and counts those that left", async () => {
    await redis.hset(keys.tenant("capped"), { queued: 2 });
    const ids = [await submit("capped"), await submit("capped")];
    await expect(submit("capped")).rejects.toMatchObject({ reason: "quota_exceeded", details: { limit: "queued" } });
    await submit("other");
    const found = await record(ids[0] ?? "");
    if (found) await gateway.cancel(found);
    await submit("capped");
  });
});

describe("a concurrency key", () => {
  const keyed = (key: string, max = 1) => ({ concurrency: { key, max } });

  test("lets so many at once, in order, while others pass those that wait for it", async () => {
    const first = await submit("t", keyed("k"));
    const second = await submit("t", keyed("k"));
    const third = await submit("t", keyed("k"));
    const other = await submit("t", keyed("l"));
    const given = await offer(10);
    expect(given.map(({ id }) => id).toSorted()).toEqual([first, other].toSorted());
    expect(await why(second)).toEqual({ reason: "concurrency_key", position: 1 });
    expect(await why(third)).toEqual({ reason: "concurrency_key", position: 2 });
    for (const each of given) await end(each);
    expect((await offer(10)).map(({ id }) => id)).toEqual([second]);
  });

  test("lets the next one to room that a host has told of before, in the step in which the one before ends", async () => {
    const listener = redis.duplicate();
    await listener.subscribe("{mayfly}:handed:life-1");
    const room = { host: "h", ...ROOM, capacity: ROOM };
    await worker.offer("default", { offer: room, heard: { series: ++series, seen: 0 } });
    const [first, second, third] = [
      await submit("t", keyed("k")),
      await submit("t", keyed("k")),
      await submit("t", keyed("k")),
    ];
    expect([await stateOf(first), await stateOf(second)]).toEqual(["starting", "queued"]);
    await end({ id: first, tenant: "t", attempt: 1 });
    expect([await stateOf(second), await stateOf(third)]).toEqual(["starting", "queued"]);
    const found = await record(third);
    if (found) await gateway.cancel(found);
    await end({ id: second, tenant: "t", attempt: 1 });
    expect(await redis.exists(keys.gates("t"))).toBe(0);
    listener.disconnect();
  });

  test("of which the next has no room makes hosts tell theirs", async () => {
    const listener = redis.duplicate();
    await listener.subscribe("{mayfly}:waits:default");
    const heard: string[] = [];
    listener.on("message", (channel: string) => void heard.push(channel));
    await submit("t", keyed("k"));
    await submit("t", keyed("k"));
    const [first] = await offer(1);
    await listener.ping();
    heard.length = 0;
    await end(first as Given);
    await listener.ping();
    expect(heard).toEqual(["{mayfly}:waits:default"]);
    listener.disconnect();
  });

  test("is of one tenant: another's of the same name is another", async () => {
    for (const tenant of ["a", "b"]) await submit(tenant, keyed("k"));
    expect(await offer(10)).toHaveLength(2);
  });

  test("is let go of by a run that is cancelled in line, and by one whose host is lost", async () => {
    const first = await submit("t", keyed("k"));
    const second = await submit("t", keyed("k"));
    const third = await submit("t", keyed("k"));
    const found = await record(first);
    if (found) await gateway.cancel(found);
    const [given] = await offer(10);
    expect(given?.id).toBe(second);
    await worker.started(given as Given);
    await redis.zadd(keys.deadlines, 0, second);
    expect(await gateway.settleOverdue(second)).toBe("finished");
    expect((await offer(10)).map(({ id }) => id)).toEqual([third]);
    expect(await redis.hgetall(keys.gates("t"))).toEqual({ k: "1" });
  });
});

describe("a run that is put off", () => {
  const tendUntilDue = async (): Promise<void> => {
    const reaper = new Reaper(gateway, ["default"], heardLog());
    reaper.start();
    await eventually(async () => expect(await redis.zcard(keys.delayed)).toBe(0));
    await reaper.close();
  };

  test("is in no line until it is due, and then is as any other", async () => {
    const id = await submit("t", { delay: "300ms" });
    expect(await offer(10)).toEqual([]);
    expect(await why(id)).toMatchObject({ reason: "delayed", until: expect.stringMatching(/^\d{4}-/) });
    await tendUntilDue();
    expect((await offer(10)).map((given) => given.id)).toEqual([id]);
  });

  test("to a moment that has passed is not put off", async () => {
    const id = await submit("t", { notBefore: "2020-01-01T00:00:00Z" });
    expect((await offer(10)).map((given) => given.id)).toEqual([id]);
  });

  test("may be cancelled meanwhile, and its queue clock starts when it is due", async () => {
    const id = await submit("t", { delay: "1h", timeouts: { queue: "1s" } });
    const due = Number(await redis.zscore(keys.deadlines, id)) - Number(await redis.hget(keys.run(id), "createdAt"));
    expect(due).toBe(3_601_000);
    const found = await record(id);
    if (found) await gateway.cancel(found);
    expect(await stateOf(id)).toBe("finished");
    expect(await redis.zcard(keys.delayed)).toBe(0);
  });

  test("that a host has room for is given to it when it is due, without the host saying so again", async () => {
    const id = await submit("t", { delay: "200ms" });
    series++;
    const listener = redis.duplicate();
    await listener.subscribe("{mayfly}:handed:life-1");
    await worker.offer("default", { offer: { host: "h", ...ROOM, capacity: ROOM }, heard: { series, seen: 0 } });
    await tendUntilDue();
    expect(await stateOf(id)).toBe("starting");
    listener.disconnect();
  });
});

describe("an idempotency key", () => {
  test("with the same body leads to the same run, also at the same moment, and also when it has finished", async () => {
    const ids = await Promise.all(Array.from({ length: 10 }, () => submit("t", {}, "order-17")));
    expect(new Set(ids).size).toBe(1);
    expect(await redis.zcard(keys.queued("default"))).toBe(1);
    await turns(1);
    expect(await submit("t", {}, "order-17")).toBe(ids[0]);
  });

  test("with another body is refused and names the run; of another tenant it is another key", async () => {
    const id = await submit("t", {}, "k");
    await expect(submit("t", { command: ["other"] }, "k")).rejects.toMatchObject({
      reason: "idempotency_conflict",
      details: { run: id },
    });
    expect(await submit("u", {}, "k")).not.toBe(id);
  });

  test("is remembered for 24 h, and neither it nor the body stands in Redis", async () => {
    await submit("t", { command: ["top-secret-body"] }, "top-secret-key");
    const [name = ""] = await redis.keys(keys.idempotency("*"));
    const ttl = await redis.pttl(name);
    expect(ttl).toBeGreaterThan(23.9 * 3_600_000);
    expect(ttl).toBeLessThanOrEqual(24 * 3_600_000);
    expect(`${name} ${await redis.get(name)}`).not.toMatch(/secret/);
  });

  test("of a call that was refused is free for the next", async () => {
    await redis.hset(keys.tenant("t"), { queued: 0 });
    await expect(submit("t", {}, "k")).rejects.toMatchObject({ reason: "quota_exceeded" });
    await redis.del(keys.tenant("t"));
    await submit("t", { command: ["another body"] }, "k");
  });
});

describe("of a run that waits it is said", () => {
  test("that there is no host, or none that is large enough", async () => {
    const id = await submit("t", { limits: { memory: "1GiB" } });
    expect(await why(id)).toEqual({ reason: "no_host" });
    series++;
    const room = { ...ROOM, memoryBytes: 2 ** 20 };
    await worker.offer("default", { offer: { host: "h", ...room, capacity: room }, heard: { series, seen: 0 } });
    expect(await why(id)).toEqual({ reason: "no_host_large_enough" });
  });

  test("which one it is in the order that fair shares make, and how long that may last", async () => {
    for (let i = 0; i < 5; i++) await submit("paced");
    await turns(5);
    for (let i = 0; i < 50; i++) await submit("flood");
    const mine = [await submit("mine"), await submit("mine"), await submit("mine")];
    series++;
    const none = { ...ROOM, slots: 0 };
    await worker.offer("default", { offer: { host: "h", ...none, capacity: ROOM }, heard: { series, seen: 0 } });
    const positions = await Promise.all(mine.map(why));
    expect(positions.map((each) => each?.position)).toEqual([1, 3, 5]);
    expect(positions[2]).toMatchObject({ reason: "no_room", estimatedSeconds: expect.any(Number) });
  });

  test("nothing, once it does not wait", async () => {
    const id = await submit("t");
    await offer(1);
    expect(await why(id)).toBeUndefined();
  });
});
