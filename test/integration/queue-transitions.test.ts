// The life of a run in Redis, driven directly through both processes' stores. Time passes here by moving a run's deadline.

import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { wallTime } from "../../core/clock.ts";
import { DEAD_LETTERS } from "../../core/index-parts.ts";
import { channels, keys } from "../../core/keys.ts";
import { parseRecord, type RunRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { backoffMs, KEPT_ATTEMPTS, RETRIED } from "../../core/retry.ts";
import { RunState, TRANSITIONS } from "../../core/run.ts";
import { parseTold } from "../../core/told.ts";
import { MAX_MOVES } from "../../core/transitions.ts";
import { Reaper } from "../../gateway/dispatch/reaper.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { type Ended, RunStore as WorkerStore } from "../../worker/run-store.ts";
import { factsOf } from "../helpers/fake-worker.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { take } from "../helpers/take.ts";

const TENANT = "acme";
const WAITER = "gateway-1";
const EXITED = { kind: "exited", exitCode: 0 } as const;

let server: RedisServer;
let redis: Redis;
let gatewayRedis: Redis;
let subscriber: Redis;
let gateway: GatewayStore;
/** Another gateway, that does the same at the same time. */
let rival: GatewayStore;
let worker: WorkerStore;
/** Another life of the same worker. */
let otherLife: WorkerStore;
/** Runs whose end this gateway was told of, as often as it was told. */
let told: string[];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gatewayRedis = connectGateway(server.url);
  await gatewayRedis.connect();
  subscriber = new Redis(server.url);
  await subscriber.subscribe(channels.gateway(WAITER));
  subscriber.on("messageBuffer", (_, message: Buffer) => told.push(parseTold(message)?.id ?? "?"));
  worker = new WorkerStore(redis, 60_000, "life-1");
  otherLife = new WorkerStore(redis, 60_000, "life-2");
  rival = makeGateway();
});

beforeEach(async () => {
  told = [];
  await redis.flushall();
  gateway = makeGateway();
});

afterAll(async () => {
  for (const client of [redis, gatewayRedis, subscriber]) client.disconnect();
  await server.stop();
});

function makeGateway(more: { maxQueued?: number; maxKept?: number } = {}): GatewayStore {
  const limits = { maxQueued: 1000, maxKept: 1000, maxStdinBytes: 100, retentionMs: 60_000 };
  return new GatewayStore({ redis: gatewayRedis, ...limits, ...more });
}

const submit = (request: Partial<RunRequest> = {}) =>
  gateway.submit({ tenant: TENANT, request: { image: "busybox", ...request }, waiter: WAITER });

async function recordOf(id: string): Promise<RunRecord> {
  const record = parseRecord(await redis.hgetall(keys.run(id)));
  if (!record) throw new Error(`there is no run ${id}`);
  return record;
}

/** A run that has come as far as its first attempt's program, on a host. */
async function running(request: Partial<RunRequest> = {}): Promise<{ id: string; attempt: number }> {
  const held = { id: await submit(request), attempt: 1 };
  await take(worker, held, "host-1");
  await worker.started(held);
  return held;
}

const ended = (attempt: number, stdout = ""): Ended => ({
  outcome: EXITED,
  receipt: { host: "host-1", driver: "fake", attempt, phases: {} },
  ran: true,
  stdout: factsOf(Buffer.from(stdout)),
  stderr: undefined,
});

/** As the worker does it: the record says whether the run is tried again. */
async function fail(id: string, attempt: number, random = 0.5): Promise<boolean> {
  const { request, retried } = await recordOf(id);
  const outcome = { kind: "exited", exitCode: 7 } as const;
  const ms = backoffMs(request.retry, { outcome, retried }, random);
  const again = ms === undefined ? undefined : { backoffMs: ms, queueMs: 60_000 };
  return worker.finish({ id, attempt }, { ...ended(attempt), outcome, again });
}

/** The state of the run has lasted too long. */
const passTime = (id: string) => redis.zadd(keys.deadlines, 0, id);

async function overdue(id: string): Promise<string> {
  await passTime(id);
  return gateway.settleOverdue(id);
}

const isDelayed = async (id: string) => (await redis.zscore(keys.delayed, id)) !== null;
const isWell = ({ outcome }: RunRecord) => outcome?.kind === "exited" && outcome.exitCode === 0;
const inState = (state: string) => keys.facet(`${TENANT}:state:${state}`);

const isInLine = async (id: string) => (await redis.zscore(keys.line(`default:${TENANT}`), id)) !== null;

/** A host says that it is there. */
function beat(id: string, at: string): Promise<void> {
  const capacity = { cpus: 1, memoryBytes: 1, pids: 1, slots: 1 };
  const process = { bootId: "1", incarnation: "1", pool: "default", version: "0", driver: "fake", running: 0 };
  const record = { id, ...process, state: "ready", capacity, free: capacity, startedAt: at, heartbeatAt: at } as const;
  return worker.publishHost(record);
}

/** Whatever was published before this has been heard after it. */
const heard = () => subscriber.ping();

describe("a run that is over", () => {
  test("cannot be finished, started, claimed, renewed, appended to, released, fed or cancelled", async () => {
    const held = await running();
    expect(await worker.finish(held, ended(1))).toBe(true);
    const before = await redis.hgetall(keys.run(held.id));
    expect(await worker.finish(held, { ...ended(1), outcome: { kind: "cancelled" } })).toBe(false);
    expect(await take(worker, held, "host-2")).toBeUndefined();
    expect(await worker.started(held)).toBe(false);
    expect(await worker.renew(held)).toBe("lost");
    await worker.append(held, "stdout", 0, Buffer.from("late"));
    await worker.release(held, "late");
    await gateway.cancel(await recordOf(held.id));
    expect(await overdue(held.id)).toBe("not yet");
    await expect(gateway.feed(held.id, Buffer.from("x"), false)).rejects.toMatchObject({ reason: "stdin_closed" });
    expect(await redis.hgetall(keys.run(held.id))).toEqual(before);
    expect(await redis.exists(keys.output(held.id, "stdout"))).toBe(0);
    expect(await redis.zscore(keys.deadlines, held.id)).toBeNull();
  });

  test("was started, too, if the word of that has not come", async () => {
    const held = { id: await submit(), attempt: 1 };
    await take(worker, held, "host-1");
    await worker.finish(held, ended(1));
    const { createdAt, startedAt, startedAttempts } = await recordOf(held.id);
    expect(startedAt).toBeGreaterThanOrEqual(createdAt);
    expect(startedAttempts).toBe(1);
    expect(await worker.started(held)).toBe(false);
  });

  test("was not started if its program never was", async () => {
    const held = { id: await submit(), attempt: 1 };
    await take(worker, held, "host-1");
    await worker.finish(held, { ...ended(1), ran: false });
    expect(await recordOf(held.id)).toMatchObject({ startedAt: undefined, startedAttempts: 0 });
  });

  test("is forgotten with all its keys after its retention", async () => {
    const held = await running({ stdin: "in" });
    await worker.append(held, "stdout", 0, Buffer.from("out"));
    await worker.append(held, "stderr", 0, Buffer.from("err"));
    await worker.finish(held, ended(1, "out"));
    const left = await redis.keys(`${keys.run(held.id)}*`);
    expect(left.toSorted()).toEqual(
      [
        keys.run(held.id), // Its stdin is gone with its end.
        keys.output(held.id, "stderr"),
        keys.output(held.id, "stdout"),
      ].toSorted(),
    );
    expect(await gateway.kept.forgetDue()).toBe(0);
    await redis.zadd(keys.finished, Date.now(), held.id);
    expect(await gateway.kept.forgetDue()).toBe(1);
    expect((await redis.keys("*")).filter((name) => /:runs?:|finished|filed/.test(name))).toEqual([]);
  });
});

describe("whoever names an attempt that is not the present one", () => {
  test("changes nothing, and is told that it holds nothing", async () => {
    const old = await running({ retries: 1 });
    await worker.append(old, "stdout", 0, Buffer.from("old"));
    expect(await overdue(old.id)).toBe("requeued");
    const present = { id: old.id, attempt: 2 };
    expect(await take(worker, old, "host-1")).toBeUndefined();
    await take(worker, present, "host-2");
    await worker.started(present);
    await worker.append(present, "stdout", 0, Buffer.from("new"));
    const before = await redis.hgetall(keys.run(old.id));

    expect(await worker.renew(old)).toBe("lost");
    expect(await worker.started(old)).toBe(false);
    await worker.append(old, "stdout", 3, Buffer.from("old"));
    await worker.release(old, "late");
    expect(await worker.finish(old, { ...ended(1), outcome: { kind: "exited", exitCode: 9 } })).toBe(false);
    expect(await redis.hgetall(keys.run(old.id))).toEqual(before);
    expect(await redis.get(keys.output(old.id, "stdout"))).toBe("new");
    expect(await worker.finish(present, ended(2, "new"))).toBe(true);
    expect(await recordOf(old.id)).toMatchObject({ state: "finished", attempt: 2, outcome: EXITED });
  });
});

describe("whoever is not the holder of the present attempt", () => {
  test("is another life of the same worker, too, and holds nothing", async () => {
    const held = await running();
    await worker.append(held, "stdout", 0, Buffer.from("mine"));
    const before = await redis.hgetall(keys.run(held.id));
    expect(await take(otherLife, held, "host-1")).toBeUndefined();
    expect(await otherLife.started(held)).toBe(false);
    expect(await otherLife.renew(held)).toBe("lost");
    await otherLife.append(held, "stdout", 4, Buffer.from("theirs"));
    await otherLife.release(held, "not mine to give up");
    expect(await otherLife.finish(held, ended(1))).toBe(false);
    expect(await redis.hgetall(keys.run(held.id))).toEqual(before);
    expect(await redis.get(keys.output(held.id, "stdout"))).toBe("mine");
    expect(await gateway.overdue()).toEqual([]);
  });

  test("may give up what an earlier life held, in its name", async () => {
    const { id } = await running();
    const [left] = await otherLife.heldBy("host-1");
    expect(left).toEqual({ id, attempt: 1, holder: "life-1" });
    if (left) await otherLife.release(left, "its worker was restarted", left.holder);
    expect(await gateway.overdue()).toEqual([id]);
  });
});

test("a claim and a start whose answers were lost may be asked for again, and answer and count the same", async () => {
  const held = { id: await submit(), attempt: 1 };
  const first = await take(worker, held, "host-1");
  expect(await take(worker, held, "host-1")).toEqual(first);
  expect([await worker.started(held), await worker.started(held)]).toEqual([true, true]);
  expect(await take(worker, held, "host-1")).toBeUndefined(); // Its program has started: it is not to be started again.
  expect(await recordOf(held.id)).toMatchObject({ state: "running", startedAttempts: 1 });
});

describe("a run that waits too long", () => {
  test("has timed out by the queue's clock, it is out of line and its waiter is told", async () => {
    const id = await submit({ timeouts: { queue: "1m30s" } });
    expect(await overdue(id)).toBe("finished");
    expect(await recordOf(id)).toMatchObject({
      state: "finished",
      outcome: { kind: "timed_out", clock: "queue", limit: "1m30s" },
    });
    expect(await isInLine(id)).toBe(false);
    expect(await redis.zscore(keys.queued("default"), id)).toBeNull();
    await heard();
    expect(told).toEqual([id]);
  });

  test("cannot be claimed any more, though nobody has settled it yet", async () => {
    const id = await submit();
    await passTime(id);
    expect(await take(worker, { id, attempt: 1 }, "host-1")).toBeUndefined();
  });

  test("is left alone before its time", async () => {
    const id = await submit();
    expect(await gateway.settleOverdue(id)).toBe("not yet");
    expect(await gateway.overdue()).toEqual([]);
    expect(await isInLine(id)).toBe(true);
  });
});

describe("a run whose host is lost", () => {
  test("before its program started, is moved with the next attempt, however often it was to be retried", async () => {
    const id = await submit({ retries: 0 });
    await take(worker, { id, attempt: 1 }, "host-1");
    expect(await gateway.overdue()).toEqual([]);
    expect(await overdue(id)).toBe("requeued");
    expect(await recordOf(id)).toMatchObject({ state: "queued", attempt: 2 });
    expect((await recordOf(id)).host).toBeUndefined();
    expect(await isInLine(id)).toBe(true);
    expect(await redis.zscore(keys.queued("default"), id)).not.toBeNull();
    expect(await take(worker, { id, attempt: 2 }, "host-2")).toMatchObject({ state: "starting", host: "host-2" });
  });

  test("may be moved only so often, and is then lost", async () => {
    const id = await submit();
    for (let attempt = 1; attempt <= MAX_MOVES; attempt++) {
      await take(worker, { id, attempt }, `host-${attempt}`);
      expect(await overdue(id)).toBe("requeued");
    }
    await take(worker, { id, attempt: MAX_MOVES + 1 }, "host-last");
    expect(await overdue(id)).toBe("finished");
    const { outcome } = await recordOf(id);
    expect(outcome).toMatchObject({ kind: "lost", message: expect.stringContaining("host-last") });
    expect(await isInLine(id)).toBe(false);
  });

  test("is rejected with the hosts' own reason if each gave it up before its program started", async () => {
    const id = await submit();
    for (let attempt = 1; attempt <= MAX_MOVES + 1; attempt++) {
      await take(worker, { id, attempt }, "host-1");
      await worker.release({ id, attempt }, "runc: no space left on device");
      expect(await gateway.overdue()).toEqual([id]);
      await gateway.settleOverdue(id);
    }
    expect((await recordOf(id)).outcome).toEqual({
      kind: "rejected",
      code: "host_unavailable",
      message: "runc: no space left on device",
    });
  });

  test("after its program started, is lost if it is not to be retried", async () => {
    const { id } = await running({ retries: 0 });
    expect(await overdue(id)).toBe("finished");
    expect((await recordOf(id)).outcome).toMatchObject({ kind: "lost", message: expect.stringContaining("host-1") });
    expect(await isInLine(id)).toBe(false);
  });

  test("is retried as often as it says, each time from the beginning, and then lost", async () => {
    const { id } = await running({ retries: 2 });
    for (const attempt of [2, 3]) {
      await worker.append({ id, attempt: attempt - 1 }, "stdout", 0, Buffer.from("half"));
      expect(await overdue(id)).toBe("requeued");
      expect(await redis.exists(keys.output(id, "stdout"))).toBe(0);
      expect((await recordOf(id)).startedAt).toBeUndefined();
      await take(worker, { id, attempt }, "host-2");
      expect(await worker.started({ id, attempt })).toBe(true);
    }
    expect(await overdue(id)).toBe("finished");
    expect((await recordOf(id)).outcome).toMatchObject({ kind: "lost", message: expect.stringContaining("attempt 3") });
  });

  test("and was to be cancelled, is cancelled and not moved", async () => {
    for (const held of [await running({ retries: 3 }), { id: await submit(), attempt: 1 }]) {
      await take(worker, held, "host-1");
      await gateway.cancel(await recordOf(held.id));
      expect(await overdue(held.id)).toBe("finished");
      expect((await recordOf(held.id)).outcome).toEqual({ kind: "cancelled" });
    }
  });

  test("is moved once, and is in line once, if several gateways find it at the same time", async () => {
    const others = [gateway, rival, makeGateway(), makeGateway()];
    for (let round = 0; round < 10; round++) {
      const id = await submit();
      await take(worker, { id, attempt: 1 }, "host-1");
      await passTime(id);
      const answers = await Promise.all(others.map((each) => each.settleOverdue(id)));
      expect(answers.filter((answer) => answer === "requeued")).toHaveLength(1);
      expect(await recordOf(id)).toMatchObject({ state: "queued", attempt: 2 });
      expect(await redis.zrange(keys.line(`default:${TENANT}`), "0", "-1")).toEqual([id]);
      await gateway.cancel(await recordOf(id));
    }
  });

  test("is found by that host's next life, and by no other host", async () => {
    const { id } = await running();
    await submit();
    expect(await worker.heldBy("host-1")).toEqual([{ id, attempt: 1, holder: "life-1" }]);
    expect(await worker.heldBy("host-2")).toEqual([]);
  });
});

test("a record that cannot be read does not keep other runs from being settled", async () => {
  const broken = await submit();
  const sound = await submit();
  for (const id of [broken, sound]) await passTime(id);
  await redis.hset(keys.run(broken), "request", "{");
  const { promise: settled, resolve } = Promise.withResolvers<unknown>();
  const runs = new Set<unknown>();
  const log = {
    info() {},
    error() {},
    warn: (_: string, fields: object = {}) => {
      if ("run" in fields && runs.add(fields.run).size === 2) resolve("both");
    },
  };
  const reaper = new Reaper(gateway, ["default"], log);
  reaper.start();
  const found = await Promise.race([settled, new Promise((late) => setTimeout(late, 60_000, "nothing").unref())]);
  await reaper.close();
  expect(found).toBe("both");
  // What cannot be read ends as well, if not with all that could be said of it.
  for (const id of [broken, sound]) expect(await redis.hget(keys.run(id), "state")).toBe("finished");
});

describe("a cancellation", () => {
  test("of a queued run ends it at once; it is out of line and its waiter is told", async () => {
    const id = await submit();
    await gateway.cancel(await recordOf(id));
    expect(await recordOf(id)).toMatchObject({ state: "finished", outcome: { kind: "cancelled" } });
    expect(await isInLine(id)).toBe(false);
    await heard();
    expect(told).toEqual([id]);
  });

  test.each(["starting", "running"])(
    "of a run that is %s asks its host, and its next renewal says so too",
    async (state) => {
      const held = { id: await submit(), attempt: 1 };
      await take(worker, held, "host-7");
      if (state === "running") await worker.started(held);
      const asked = Promise.withResolvers<string>();
      const ear = new Redis(server.url);
      await ear.subscribe(channels.host("host-7"));
      ear.on("message", (_, message: string) => asked.resolve(message));
      await gateway.cancel(await recordOf(held.id));
      expect(await asked.promise).toBe(`cancel ${held.id}`);
      ear.disconnect();
      expect(await recordOf(held.id)).toMatchObject({ state, cancelRequested: true });
      expect((await recordOf(held.id)).outcome).toBeUndefined();
      expect(await worker.renew(held)).toBe("cancel");
      expect(await worker.finish(held, { ...ended(1), outcome: { kind: "cancelled" } })).toBe(true);
    },
  );

  test("by force is told as that, by the order and by the next renewal", async () => {
    const held = await running();
    const asked = Promise.withResolvers<string>();
    const ear = new Redis(server.url);
    await ear.subscribe(channels.host("host-1"));
    ear.on("message", (_, message: string) => asked.resolve(message));
    await gateway.cancel(await recordOf(held.id));
    expect(await worker.renew(held)).toBe("cancel");
    await gateway.cancel(await recordOf(held.id), { isForced: true });
    expect([await asked.promise, await worker.renew(held)]).toEqual([`cancel ${held.id}`, "force-cancel"]);
    ear.disconnect();
  });

  test("that comes after the end changes nothing", async () => {
    const held = await running();
    const before = await recordOf(held.id);
    await worker.finish(held, ended(1));
    await gateway.cancel(before);
    expect((await recordOf(held.id)).outcome).toEqual(EXITED);
  });
});

describe("output", () => {
  test("that is sent twice is stored once", async () => {
    const held = await running();
    for (let times = 0; times < 2; times++) await worker.append(held, "stdout", 0, Buffer.from("one"));
    for (let times = 0; times < 2; times++) await worker.append(held, "stdout", 3, Buffer.from("two"));
    expect((await gateway.output(held.id, "stdout")).toString()).toBe("onetwo");
    expect((await gateway.output(held.id, "stdout", 3)).toString()).toBe("two");
    expect(await gateway.output(held.id, "stderr")).toHaveLength(0);
  });

  test("that would leave a gap is not stored, and its attempt cannot go on as if nothing were missing", async () => {
    const held = await running();
    await worker.append(held, "stdout", 0, Buffer.from("one"));
    await expect(worker.append(held, "stdout", 99, Buffer.from("gap"))).rejects.toMatchObject({
      reason: "host_unavailable",
    });
    expect((await gateway.output(held.id, "stdout")).toString()).toBe("one");
  });

  test("is bytes: what is no text comes back unchanged", async () => {
    const held = await running();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await worker.append(held, "stderr", 0, bytes);
    expect((await gateway.output(held.id, "stderr")).equals(bytes)).toBe(true);
  });
});

describe("stdin", () => {
  test("over its limit is refused, and nothing of it is stored", async () => {
    const id = await submit({ stdin: { stream: true } });
    await gateway.feed(id, Buffer.alloc(60), false);
    await expect(gateway.feed(id, Buffer.alloc(41), false)).rejects.toMatchObject({ reason: "body_too_large" });
    expect(await redis.strlen(keys.stdin(id))).toBe(60);
    await expect(submit({ stdin: "a".repeat(101) })).rejects.toMatchObject({ reason: "body_too_large" });
  });

  test("is complete once it was closed, and is read in pieces by offset", async () => {
    const id = await submit({ stdin: { stream: true } });
    expect(await worker.readStdin(id, 0, 10)).toEqual({ bytes: Buffer.alloc(0), complete: false });
    await gateway.feed(id, Buffer.from("hello"), true);
    expect(await worker.readStdin(id, 0, 3)).toEqual({ bytes: Buffer.from("hel"), complete: false });
    expect(await worker.readStdin(id, 3, 3)).toEqual({ bytes: Buffer.from("lo"), complete: true });
    await expect(gateway.feed(id, Buffer.from("x"), false)).rejects.toMatchObject({ reason: "stdin_closed" });
  });

  test("that came with the request is complete from the start, and is not kept in the record", async () => {
    const id = await submit({ stdin: { base64: Buffer.from([0, 255]).toString("base64") } });
    expect(await worker.readStdin(id, 0, 10)).toEqual({ bytes: Buffer.from([0, 255]), complete: true });
    expect((await recordOf(id)).request.stdin).toBe("");
  });
});

describe("the queue's limit", () => {
  test("holds also if runs come at once, and what is refused leaves nothing behind", async () => {
    gateway = makeGateway({ maxQueued: 5 });
    const answers = await Promise.allSettled(Array.from({ length: 20 }, () => submit()));
    const refused = answers.filter((answer) => answer.status === "rejected");
    expect(refused).toHaveLength(15);
    for (const { reason } of refused) expect(reason).toMatchObject({ reason: "queue_full" });
    expect(await redis.zcard(keys.queued("default"))).toBe(5);
    expect(await redis.zcard(inState("queued"))).toBe(5);
    expect(await redis.zcard(keys.line(`default:${TENANT}`))).toBe(5);
    const left = (await redis.keys(keys.run("*"))).filter((key) => key !== keys.waiters(key.split(":")[2] ?? ""));
    expect(left).toHaveLength(5);
  });

  test("counts runs that wait, not runs that are held or over", async () => {
    gateway = makeGateway({ maxQueued: 1 });
    const held = { id: await submit(), attempt: 1 };
    await take(worker, held, "host-1");
    await submit();
    await expect(submit()).rejects.toMatchObject({ reason: "queue_full" });
  });
});

test("a host is listed while its record lives, and is no trouble when it is gone", async () => {
  for (const id of ["a", "b"]) await beat(id, wallTime());
  expect((await gateway.hosts()).map(({ id }) => id)).toEqual(["a", "b"]);
  await redis.del(keys.host("a")); // As its time to live does.
  expect((await gateway.hosts()).map(({ id }) => id)).toEqual(["b"]);
  await worker.removeHost("b");
  expect(await gateway.hosts()).toEqual([]);
});

test("a host's record that is not understood is no reason to say nothing of the others", async () => {
  await redis.zadd(keys.hosts, Date.now(), "newer");
  await redis.set(keys.host("newer"), JSON.stringify({ id: "newer", shape: "of another version" }));
  expect(await gateway.hosts()).toEqual([]);
  expect(await worker.hostRecord("newer")).toBeUndefined();
});

test("hosts that were killed are forgotten by the beats of those that live", async () => {
  await beat("killed", wallTime(Date.now() - 86_400_000));
  await beat("alive", wallTime());
  expect(await redis.zrange(keys.hosts, "0", "-1")).toEqual(["alive"]);
});

describe("on any walk through the commands, sensible or not,", () => {
  const RUNS = 3;
  const run = fc.nat({ max: RUNS - 1 });
  /** How far behind (or ahead) of the present attempt the caller believes to be. */
  const lag = fc.constantFrom(0, 0, 0, 1, -1);
  const command = fc.oneof(
    fc.record({
      do: fc.constant("submit" as const),
      run,
      lag,
      retries: fc.nat({ max: 2 }),
      attempts: fc.constantFrom(undefined, 2, 3),
    }),
    fc.record({
      do: fc.constantFrom(
        ...([
          "claim",
          "claim",
          "started",
          "append",
          "renew",
          "release",
          "finish",
          "fail",
          "fail",
          "come due",
          "cancel",
          "pass time",
          "settle",
        ] as const),
      ),
      run,
      lag,
    }),
  );

  test("a run has at most one outcome, its attempt never falls, and its state moves only as the table allows", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 10, maxLength: 60 }), async (walk) => {
        await redis.flushall();
        told = [];
        const ids: (string | undefined)[] = [];
        const seen = new Map<string, RunRecord>();
        for (const step of walk) {
          const id = ids[step.run];
          if (step.do === "submit") {
            if (!id) ids[step.run] = await submit("retries" in step ? policyOf(step) : {});
          } else if (id) await act(step.do, id, (seen.get(id)?.attempt ?? 1) - step.lag);
          for (const each of ids) if (each) await check(each, seen);
        }
      }),
      { numRuns: 40 },
    );
  });

  const policyOf = ({ retries, attempts }: { retries: number; attempts: number | undefined }) => ({
    retries,
    ...(attempts === undefined ? {} : { retry: { attempts, on: [...RETRIED] } }),
  });

  async function act(what: string, id: string, attempt: number): Promise<unknown> {
    const held = { id, attempt };
    switch (what) {
      case "claim":
        return take(worker, held, "host-1");
      case "started":
        return worker.started(held);
      case "append":
        return worker.append(held, "stdout", await redis.strlen(keys.output(id, "stdout")), Buffer.from(`${attempt};`));
      case "renew":
        return worker.renew(held);
      case "release":
        return worker.release(held, "given up");
      case "finish":
        return worker.finish(held, ended(attempt));
      case "fail":
        return fail(id, attempt);
      case "come due":
        if (await isDelayed(id)) await redis.zadd(keys.delayed, 0, id);
        return gateway.tend("default");
      case "cancel":
        return gateway.cancel(await recordOf(id));
      case "pass time":
        return (await redis.zscore(keys.deadlines, id)) === null ? undefined : passTime(id);
      default:
        return Promise.all([gateway.settleOverdue(id), rival.settleOverdue(id)]);
    }
  }

  async function check(id: string, seen: Map<string, RunRecord>): Promise<void> {
    const [before, now] = [seen.get(id), await recordOf(id)];
    seen.set(id, now);
    if (before?.state === "finished") expect(now).toEqual(before);
    if (before && before.state !== now.state) expect(TRANSITIONS[before.state]).toContain(now.state);
    if (before) expect(now.attempt - before.attempt).toBe(before.state !== "queued" && now.state === "queued" ? 1 : 0);
    expect(now.outcome !== undefined).toBe(now.state === "finished");
    const { retries = 0, retry } = now.request;
    expect(now.startedAttempts).toBeLessThanOrEqual(Math.min(now.attempt, retries + (retry?.attempts ?? 1)));
    expect(now.retried).toBeLessThan(retry?.attempts ?? 1);
    expect(now.attempts?.map(({ attempt }) => attempt) ?? []).toEqual(
      Array.from({ length: now.attempt - 1 }, (_, i) => i + 1).slice(-KEPT_ATTEMPTS),
    );
    for (const state of RunState.options)
      expect((await redis.zscore(inState(state), id)) !== null).toBe(state === now.state);
    const isDead =
      now.state === "finished" && now.outcome?.kind !== "cancelled" && now.outcome !== undefined && !isWell(now);
    expect((await redis.zscore(keys.facet(`${TENANT}:${DEAD_LETTERS}`), id)) !== null).toBe(
      isDead && (retries > 0 || retry !== undefined),
    );
    expect((await redis.zscore(keys.deadlines, id)) !== null).toBe(now.state !== "finished");
    expect((await redis.zscore(keys.queued("default"), id)) !== null).toBe(now.state === "queued");
    if (now.state === "queued") expect((await isInLine(id)) !== (await isDelayed(id))).toBe(true);
    const output = (await redis.get(keys.output(id, "stdout"))) ?? "";
    expect(new Set(output.split(";").filter(Boolean))).toEqual(new Set(output ? [String(now.attempt)] : []));
    await heard();
    expect(told.filter((each) => each === id)).toHaveLength(now.state === "finished" ? 1 : 0);
  }
});
