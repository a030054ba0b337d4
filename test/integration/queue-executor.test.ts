// One attempt, top to bottom, on a real Redis: each step is made to fail, and the record, the sandbox and the hold are looked at.
// The sandbox is a script in the test; that real ones keep to the same contract is shown elsewhere.

import { buffer } from "node:stream/consumers";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { monotonicMs } from "../../core/clock.ts";
import { type ErrorReason, MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import { createLog } from "../../core/log.ts";
import { LEASE_MS } from "../../core/offer.ts";
import { parseRecord, type RunRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { PHASES } from "../../core/run.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import type { HeldImage, Runtime, SandboxSpec } from "../../runtime/index.ts";
import { Executor } from "../../worker/executor.ts";
import { Messages, RunStore } from "../../worker/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { exited, FakeSandbox, USAGE } from "../helpers/fake-sandbox.ts";
import { NO_IMAGES } from "../helpers/no-images.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { take } from "../helpers/take.ts";

const HOST = "host-1";
const IMAGE: HeldImage = {
  release() {},
  reference: "docker.io/library/busybox:latest",
  digest: `sha256:${"1".repeat(64)}`,
  manifestDigest: `sha256:${"1".repeat(64)}`,
  config: { env: [], entrypoint: [], command: ["sh"], workdir: "/", user: "" },
  layers: [],
};

let server: RedisServer;
let redis: Redis;
let subscriber: Redis;
let gatewayRedis: Redis;
let gateway: GatewayStore;
let store: RunStore;
let messages: Messages;
let sandbox: FakeSandbox;
let executor: Executor;
/** What the runtime does; a test replaces what it wants to fail. */
let ensureImage: Runtime["ensureImage"];
let openSandbox: Runtime["openSandbox"];
let opened: SandboxSpec[];
let logged: Record<string, unknown>[];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  subscriber = new Redis(server.url);
  messages = new Messages(subscriber);
  gatewayRedis = connectGateway(server.url);
  await gatewayRedis.connect();
  const limits = { maxQueued: 100, maxKept: 100, maxStdinBytes: 1e6, retentionMs: 60_000 };
  gateway = new GatewayStore({ redis: gatewayRedis, ...limits });
  store = new RunStore(redis, 60_000, "life-1");
});

afterAll(async () => {
  for (const client of [redis, subscriber, gatewayRedis]) client.disconnect();
  await server.stop();
});

beforeEach(async () => {
  await redis.flushall();
  sandbox = new FakeSandbox();
  opened = [];
  logged = [];
  ensureImage = async () => IMAGE;
  openSandbox = async () => sandbox;
  const runtime: Runtime = {
    driver: "fake",
    images: NO_IMAGES,
    blanks: async () => ({ ready: 0, wanted: 0, cgroups: [] }),
    ensureImage: (...args) => ensureImage(...args),
    openSandbox: (spec, ...rest) => {
      opened.push(spec);
      return openSandbox(spec, ...rest);
    },
    removeLeftovers: async () => ({ sandboxes: [] }),
    close: async () => {},
  };
  const log = createLog({}, (line) => void logged.push(JSON.parse(line)));
  executor = new Executor({ runtime, store, messages, hostId: HOST, log });
});

async function claimed(request: Partial<RunRequest> = {}): Promise<RunRecord> {
  const id = await gateway.submit({ tenant: "t", request: { image: "busybox", ...request }, waiter: undefined });
  const record = await take(store, { id, attempt: 1 }, HOST);
  if (!record) throw new Error("not claimed");
  return record;
}

const execute = (record: RunRecord) => executor.execute(record, monotonicMs());

async function recordOf({ id }: { id: string }): Promise<RunRecord> {
  const record = parseRecord(await redis.hgetall(keys.run(id)));
  if (!record) throw new Error("no record");
  return record;
}

const inState = (record: RunRecord, state: string) =>
  eventually(async () => expect((await recordOf(record)).state).toBe(state));

/** The attempt was let go of: the run is overdue at once, and says why. */
async function expectGivenUp(record: RunRecord, why: string): Promise<void> {
  expect(await recordOf(record)).toMatchObject({ givenUp: expect.stringContaining(why) });
  expect(await gateway.overdue()).toEqual([record.id]);
}

describe("an image that cannot be had", () => {
  const reasons: ErrorReason[] = [
    "invalid_reference",
    "image_not_found",
    "image_access_denied",
    "image_unsupported",
    "image_corrupt",
    "registry_unavailable",
  ];

  test.each(reasons)("for %s rejects the run with that reason, and no sandbox is made", async (reason) => {
    ensureImage = () => Promise.reject(new MayflyError(reason, "why"));
    const record = await claimed();
    await execute(record);
    const { outcome, receipt, startedAttempts } = await recordOf(record);
    expect({ outcome, startedAttempts }).toEqual({
      outcome: { kind: "rejected", code: reason, message: "why" },
      startedAttempts: 0,
    });
    expect(receipt).toMatchObject({ host: HOST, driver: "fake", attempt: 1, phases: { pull: expect.any(Number) } });
    expect(opened).toEqual([]);
  });

  test("in time ends the run by the start clock", async () => {
    ensureImage = (_, signal) =>
      new Promise((__, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const record = await claimed({ timeouts: { start: "1s" } });
    await execute(record);
    expect((await recordOf(record)).outcome).toEqual({ kind: "timed_out", clock: "start", limit: "1s" });
  });

  test("before the run is cancelled leaves it cancelled", async () => {
    ensureImage = (_, signal) =>
      new Promise((__, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const record = await claimed();
    const done = execute(record);
    executor.obey({ verb: "cancel", run: "run_of_somebody_else" });
    executor.obey({ verb: "cancel", run: record.id });
    await done;
    expect((await recordOf(record)).outcome).toEqual({ kind: "cancelled" });
  });
});

describe("a sandbox that cannot be made", () => {
  test("for a fault of the host's gives the attempt up, for another host to try", async () => {
    openSandbox = () => Promise.reject(new MayflyError("host_unavailable", "no space left on device"));
    const record = await claimed();
    await execute(record);
    await expectGivenUp(record, "no space left on device");
    expect((await recordOf(record)).state).toBe("starting");
  });

  test("for a fault of the request's rejects the run", async () => {
    openSandbox = () => Promise.reject(new MayflyError("invalid_field", "user: no such user"));
    const record = await claimed();
    await execute(record);
    expect((await recordOf(record)).outcome).toMatchObject({ kind: "rejected", code: "invalid_field" });
  });

  test("because there is no program to run rejects the run, and none is made", async () => {
    ensureImage = async () => ({ ...IMAGE, config: { ...IMAGE.config, command: [] } });
    const record = await claimed();
    await execute(record);
    expect((await recordOf(record)).outcome).toMatchObject({ kind: "rejected", code: "invalid_field" });
    expect(opened).toEqual([]);
  });
});

describe("a program", () => {
  test("that is not there has an exit code, and never was running", async () => {
    sandbox.programStarted = false;
    const record = await claimed();
    const done = execute(record);
    sandbox.end(exited(127));
    await done;
    expect(await recordOf(record)).toMatchObject({ outcome: exited(127), startedAttempts: 0 });
    expect((await recordOf(record)).startedAt).toBeUndefined();
    expect(sandbox.closes).toBeGreaterThan(0);
  });

  test("that ends has its outcome, its output, its facts and its phases recorded, and its sandbox is gone", async () => {
    const record = await claimed();
    const done = execute(record);
    await inState(record, "running");
    sandbox.stdout.write("hello ");
    sandbox.stdout.write("world");
    sandbox.stderr.write(Buffer.from([0xff]));
    sandbox.end(exited(3));
    await done;
    expect(await recordOf(record)).toMatchObject({
      state: "finished",
      outcome: exited(3),
      startedAttempts: 1,
      stdout: { bytesSeen: 11, bytesKept: 11, truncated: false },
      stderr: { bytesSeen: 1 },
      receipt: { host: HOST, driver: "fake", attempt: 1, imageDigest: IMAGE.digest, ...USAGE },
    });
    expect(Object.keys((await recordOf(record)).receipt?.phases ?? {}).toSorted()).toEqual([...PHASES].toSorted());
    expect((await gateway.output(record.id, "stdout")).toString()).toBe("hello world");
    expect(sandbox.signals).toEqual([]);
    expect(sandbox.closes).toBeGreaterThan(0);
    expect(await redis.zcard(keys.deadlines)).toBe(0);
  });

  test("that runs into its memory limit says which", async () => {
    const record = await claimed({ limits: { memory: "64MiB" } });
    const done = execute(record);
    sandbox.end({ kind: "signaled", signal: "SIGKILL" }, { ...USAGE, oomKills: 1 });
    await done;
    expect((await recordOf(record)).outcome).toEqual({ kind: "oom_killed", limit: "64MiB" });
  });

  test("that outlives its run clock is asked to stop, and killed when its grace is over", async () => {
    const record = await claimed({ timeouts: { run: "100ms", grace: "100ms" } });
    await execute(record);
    expect(sandbox.signals).toEqual(["SIGTERM", "SIGKILL"]);
    expect((await recordOf(record)).outcome).toEqual({ kind: "timed_out", clock: "run", limit: "100ms" });
  });

  test("that heeds SIGTERM is not killed, and timed out all the same", async () => {
    sandbox.onSignal = () => sandbox.end(exited(0));
    const record = await claimed({ timeouts: { run: "100ms", grace: "5m" } });
    await execute(record);
    expect(sandbox.signals).toEqual(["SIGTERM"]);
    expect((await recordOf(record)).outcome).toMatchObject({ kind: "timed_out", clock: "run" });
  });

  test("without grace is killed at once", async () => {
    const record = await claimed({ timeouts: { run: "100ms", grace: "0s" } });
    await execute(record);
    expect(sandbox.signals).toEqual(["SIGKILL"]);
  });

  test("that is cancelled is asked to stop, and is cancelled however it then ends", async () => {
    sandbox.onSignal = () => sandbox.end(exited(0));
    const record = await claimed();
    const done = execute(record);
    await inState(record, "running");
    executor.obey({ verb: "cancel", run: record.id });
    await done;
    expect(sandbox.signals).toEqual(["SIGTERM"]);
    expect((await recordOf(record)).outcome).toEqual({ kind: "cancelled" });
  });

  test("that is cancelled by force is killed at once, also in the grace of a cancellation before", async () => {
    for (const before of [[], ["SIGTERM"]]) {
      sandbox = new FakeSandbox();
      const killed = vi
        .spyOn(sandbox, "kill")
        .mockImplementation(() => sandbox.end({ kind: "signaled", signal: "SIGKILL" }));
      const record = await claimed({ timeouts: { grace: "5m" } });
      const done = execute(record);
      await inState(record, "running");
      if (before.length > 0) executor.obey({ verb: "cancel", run: record.id });
      executor.obey({ verb: "force-cancel", run: record.id });
      await done;
      expect(sandbox.signals).toEqual(before);
      expect(killed).toHaveBeenCalled();
      expect((await recordOf(record)).outcome).toEqual({ kind: "cancelled" });
    }
  });

  test("that fails is tried again as its policy has it, and is over with its last attempt", async () => {
    const record = await claimed({ retry: { attempts: 2, backoff: { initial: "1h", max: "1h", jitter: false } } });
    const done = execute(record);
    await inState(record, "running");
    sandbox.stdout.write("half");
    sandbox.end(exited(3));
    await done;
    const again = await recordOf(record);
    expect(again).toMatchObject({
      state: "queued",
      attempt: 2,
      retried: 1,
      attempts: [{ attempt: 1, outcome: exited(3) }],
    });
    expect(again.attempts?.[0]?.receipt).toMatchObject({ host: HOST, attempt: 1 });
    expect(await redis.exists(keys.output(record.id, "stdout"))).toBe(0);
    await redis.zadd(keys.delayed, 0, record.id);
    await gateway.tend("default");
    const second = await take(store, { id: record.id, attempt: 2 }, HOST);
    if (!second) throw new Error("not claimed");
    sandbox = new FakeSandbox();
    const last = execute(second);
    await inState(second, "running");
    sandbox.end(exited(4));
    await last;
    expect(await recordOf(record)).toMatchObject({ state: "finished", attempt: 2, outcome: exited(4) });
  });

  test("that is rejected is tried again if its policy names that, once nothing of it is left", async () => {
    ensureImage = () => Promise.reject(new MayflyError("registry_unavailable", "away"));
    const record = await claimed({ retry: { attempts: 3, on: ["rejected"] } });
    await execute(record);
    expect(await recordOf(record)).toMatchObject({
      state: "queued",
      attempt: 2,
      attempts: [{ outcome: { kind: "rejected" } }],
    });
  });

  test("that has ended by itself is not cancelled by a word that comes while its output is stored", async () => {
    const append = store.append.bind(store);
    const appending = vi.spyOn(store, "append").mockImplementation(async (...args) => {
      await sandbox.ended;
      await new Promise(setImmediate); // Whoever awaits the end has been told of it.
      executor.obey({ verb: "cancel", run: args[0].id });
      return append(...args);
    });
    const record = await claimed();
    const done = execute(record);
    await inState(record, "running");
    sandbox.stdout.write("late");
    sandbox.end(exited(0));
    await done;
    appending.mockRestore();
    expect((await recordOf(record)).outcome).toEqual(exited(0));
  });
});

describe("a program's input", () => {
  test("that was not given is at its end at once", async () => {
    const record = await claimed();
    const done = execute(record);
    expect(await buffer(sandbox.stdin)).toHaveLength(0);
    sandbox.end();
    await done;
  });

  test("that came with the request is given whole", async () => {
    const record = await claimed({ stdin: "hello" });
    const done = execute(record);
    expect((await buffer(sandbox.stdin)).toString()).toBe("hello");
    sandbox.end();
    await done;
  });

  test("that is sent while it runs arrives as it comes, until it is closed", async () => {
    const record = await claimed({ stdin: { stream: true } });
    const done = execute(record);
    const read = buffer(sandbox.stdin);
    for (const piece of ["one ", "two ", "three"]) await gateway.feed(record.id, Buffer.from(piece), piece === "three");
    expect((await read).toString()).toBe("one two three");
    sandbox.end();
    await done;
  });

  test("that never comes to an end does not keep a program that ends", async () => {
    const record = await claimed({ stdin: { stream: true } });
    const done = execute(record);
    await inState(record, "running");
    sandbox.end(exited(0));
    await done;
    expect((await recordOf(record)).outcome).toEqual(exited(0));
  });

  test("that it does not read does not keep a program that ends", async () => {
    const record = await claimed({ stdin: "a".repeat(900_000) });
    const done = execute(record);
    await inState(record, "running");
    sandbox.end(exited(0));
    const finished = await Promise.race([
      done.then(() => true),
      new Promise((late) => setTimeout(late, 60_000, false).unref()),
    ]);
    sandbox.stdin.destroy();
    await done;
    expect(finished).toBe(true);
  });
});

describe("an attempt that this host cannot bring to its end", () => {
  test("because its sandbox was lost is given up", async () => {
    const record = await claimed();
    const done = execute(record);
    await inState(record, "running");
    sandbox.lose(new MayflyError("host_unavailable", "the shim was lost"));
    await done;
    await expectGivenUp(record, "the shim was lost");
    expect(sandbox.closes).toBeGreaterThan(0);
  });

  test("because the worker stops is killed without grace, and given up only when nothing of it is left", async () => {
    const gone = Promise.withResolvers<void>();
    sandbox.closing = () => gone.promise;
    const record = await claimed({ timeouts: { grace: "5m" } });
    const done = execute(record);
    await inState(record, "running");
    executor.abandonAll();
    await eventually(() => expect(sandbox.closes).toBeGreaterThan(0));
    expect(sandbox.signals).toEqual(["SIGKILL"]);
    expect(await gateway.overdue()).toEqual([]);
    gone.resolve();
    await done;
    await expectGivenUp(record, "its worker was stopped");
  });

  test("and whose sandbox cannot be removed is not given up: its hold runs out by itself", async () => {
    sandbox.closing = () => Promise.reject(new Error("device or resource busy"));
    const record = await claimed();
    const done = execute(record);
    await inState(record, "running");
    executor.abandonAll();
    await done;
    expect(await gateway.overdue()).toEqual([]);
    expect((await recordOf(record)).givenUp).toBeUndefined();
    expect(logged).toContainEqual(expect.objectContaining({ event: "sandbox.not_removed", run: record.id }));
  });

  test("because another has the run is killed before it does anything, and leaves the record alone", async () => {
    const record = await claimed();
    await redis.hset(keys.run(record.id), "attempt", "2", "holder", "life-2");
    const before = await redis.hgetall(keys.run(record.id));
    await execute(record);
    expect(sandbox.signals).toEqual(["SIGKILL"]);
    expect(await redis.hgetall(keys.run(record.id))).toEqual(before);
    expect(sandbox.closes).toBeGreaterThan(0);
  });

  test("because its hold was over before it was heard of starts nothing", async () => {
    const record = await claimed();
    await executor.execute(record, monotonicMs() - LEASE_MS);
    expect(opened).toEqual([]);
    const { state, outcome } = await recordOf(record);
    expect({ state, outcome }).toEqual({ state: "starting", outcome: undefined });
  });

  test("because output that was stored has gone missing is given up", async () => {
    const record = await claimed();
    const done = execute(record);
    sandbox.stdout.write("first");
    await eventually(async () => expect(await redis.strlen(keys.output(record.id, "stdout"))).toBe(5));
    await redis.del(keys.output(record.id, "stdout"));
    sandbox.stdout.write("second");
    await done;
    await expectGivenUp(record, "lost bytes of stdout");
    expect(sandbox.closes).toBeGreaterThan(0);
  });

  test("is not told to its caller as more than it was: no outcome is recorded", async () => {
    openSandbox = () => Promise.reject(new TypeError("x is undefined"));
    const record = await claimed();
    await execute(record);
    expect((await recordOf(record)).outcome).toBeUndefined();
  });
});

test("a sandbox that cannot be removed after the end is logged, and does not change the outcome", async () => {
  sandbox.closing = () => Promise.reject(new Error("device or resource busy"));
  const record = await claimed();
  const done = execute(record);
  sandbox.end(exited(0));
  await done;
  expect((await recordOf(record)).outcome).toEqual(exited(0));
  expect(logged).toContainEqual(
    expect.objectContaining({ event: "sandbox.not_removed", run: record.id, name: "sandbox" }),
  );
});

test("an attempt is one line in the log, without output, input, arguments or environment", async () => {
  const marker = "marker-5b1e";
  const record = await claimed({ command: [marker], env: { A: marker }, stdin: marker });
  const done = execute(record);
  sandbox.stdout.write(marker);
  sandbox.end();
  await done;
  expect(logged.filter(({ event }) => event === "run.ended")).toHaveLength(1);
  expect(JSON.stringify(logged)).not.toContain(marker);
});
