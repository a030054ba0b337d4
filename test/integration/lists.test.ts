// Lists of runs over HTTP: what the filters let through, in which order, page by page, for whom; and what is no longer there.

import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { firstRunId, newRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { parseRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import { type Run, RunState } from "../../core/run.ts";
import { connectRedis as connectGateway } from "../../gateway/dispatch/redis.ts";
import { RunStore as GatewayStore } from "../../gateway/dispatch/run-store.ts";
import { RunStore as WorkerStore } from "../../worker/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { take } from "../helpers/take.ts";

let server: RedisServer;
let redis: Redis;
let gatewayRedis: Redis;
let store: GatewayStore;
let worker: WorkerStore;
let gateway: Gateway;

const limits = { maxQueued: 1_000, maxKept: 1_000, maxStdinBytes: 100, retentionMs: 60_000 };

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gatewayRedis = connectGateway(server.url);
  await gatewayRedis.connect();
  store = new GatewayStore({ redis: gatewayRedis, ...limits });
  worker = new WorkerStore(redis, 60_000, "life-1");
  gateway = await startGateway({
    redisUrl: server.url,
    keys: { acme: "key-a", other: "key-o" },
    operators: { root: "key-r" },
    env: { MAYFLY_MAX_KEPT: "3" },
  });
});
beforeEach(async () => {
  await redis.flushall();
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});
afterAll(async () => {
  await gateway.stop();
  for (const client of [redis, gatewayRedis]) client.disconnect();
  await server.stop();
});

const submit = (tenant: string, request: Partial<RunRequest> = {}, id = newRunId()) =>
  store.submit({ id, tenant, request: { image: "busybox", ...request }, waiter: undefined });

/** Brings the run of a tenant that has no other queued to a state. */
async function bring(id: string, state: RunState): Promise<void> {
  const held = { id, attempt: 1 };
  if (state === "queued") return;
  expect(await take(worker, held, "host-1")).toBeDefined();
  if (state === "starting") return;
  await worker.started(held);
  if (state === "running") return;
  await end(id);
}

async function end(id: string): Promise<void> {
  const receipt = { host: "host-1", driver: "fake", attempt: 1, phases: {} };
  const outcome = { kind: "exited", exitCode: 0 } as const;
  expect(
    await worker.finish({ id, attempt: 1 }, { outcome, receipt, ran: true, stdout: undefined, stderr: undefined }),
  ).toBe(true);
}

const ask = async <T>(path: string, key = "key-a", status = 200, method = "GET"): Promise<T> => {
  const answer = await gateway.fetch(path, { method, headers: { authorization: `Bearer ${key}` } });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([status, text]);
  return (text ? JSON.parse(text) : undefined) as T;
};
type List = { runs: Run[]; next?: string };
const listed = async (query: string, key?: string) =>
  (await ask<List>(`/v1/runs${query}`, key)).runs.map(({ id }) => id);

test("on any set of runs every filter lets through just those that it should, newest first, on pages of any size", async () => {
  const one = fc.record({
    tenant: fc.constantFrom("acme", "other", "third"),
    state: fc.constantFrom(...RunState.options),
    image: fc.constantFrom("a", "b"),
    labels: fc.constantFrom({}, { k: "1" }, { k: "2" }, { k: "1", l: "" }, { "k=": "1" }),
    ms: fc.nat({ max: 3 }),
  });
  const asked = fc.record({
    whose: fc.constantFrom("acme", "third", "everybody" as const),
    state: fc.constantFrom(undefined, ...RunState.options),
    image: fc.constantFrom(undefined, undefined, "a", "c"),
    labels: fc.constantFrom<[string, string][]>(
      [],
      [["k", "1"]],
      [
        ["l", ""],
        ["k", "1"],
      ],
    ),
    since: fc.constantFrom(undefined, 0, 2),
    until: fc.constantFrom(undefined, 1, 3),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  const base = Date.now() - 10;
  await fc.assert(
    fc.asyncProperty(
      fc.array(one, { maxLength: 14 }),
      fc.array(asked, { minLength: 5, maxLength: 5 }),
      async (runs, questions) => {
        await redis.flushall();
        const made: ((typeof runs)[number] & { readonly id: string })[] = [];
        for (const run of runs) {
          const { tenant, image, labels, ms, state } = run;
          const id = await submit(tenant, { image, labels }, newRunId(base + ms));
          // Who waits already would be given the room first.
          const isFree = (await redis.zcard(keys.queued("default"))) === 1;
          if (isFree) await bring(id, state);
          made.push({ ...run, state: isFree ? state : "queued", id });
        }
        for (const { whose, state, image, labels, since, until, limit } of questions) {
          const wanted = made
            .filter((run) => whose === "everybody" || run.tenant === whose)
            .filter((run) => state === undefined || run.state === state)
            .filter((run) => image === undefined || run.image === image)
            .filter((run) => labels.every(([name, value]) => (run.labels as Record<string, string>)[name] === value))
            .filter((run) => since === undefined || run.ms >= since)
            .filter((run) => until === undefined || run.ms < until)
            .map(({ id }) => id)
            .toSorted()
            .toReversed();
          const of = whose === "everybody" ? whose : { tenant: whose };
          const moment = (ms: number | undefined) => (ms === undefined ? undefined : base + ms);
          const filter = { state, image, labels, sinceMs: moment(since), untilMs: moment(until) };
          const found: string[] = [];
          let cursor: string | undefined;
          do {
            const { records, next } = await store.lists.page(of, filter, { limit, cursor });
            expect(records.length).toBeLessThanOrEqual(limit);
            found.push(...records.map(({ id }) => id));
            cursor = next;
          } while (cursor !== undefined);
          expect(found).toEqual(wanted);
          expect(await store.lists.count(of, filter)).toMatchObject({ total: wanted.length, isComplete: true });
        }
      },
    ),
    { numRuns: 25 },
  );
});

describe("a list over HTTP", () => {
  test("goes by state, image, labels and moment, and counts by the same", async () => {
    const [first, second, third] = [
      await submit("acme", { image: "a", labels: { team: "x", build: "1" } }),
      await submit("acme", { image: "b", labels: { team: "x" } }),
      await submit("acme", { image: "a", labels: { team: "y=z" } }),
    ];
    expect(await listed("")).toEqual([third, second, first]);
    expect(await listed("?image=a")).toEqual([third, first]);
    expect(await listed("?label=team%3Dx&label=build%3D1")).toEqual([first]);
    expect(await listed("?label=team%3Dx&state=running")).toEqual([]);
    expect(await listed("?label=team%3Dy%3Dz")).toEqual([third]);
    expect(await listed(`?since=${new Date(Date.now() + 60_000).toISOString()}`)).toEqual([]);
    expect(await listed(`?until=${new Date(Date.now() + 60_000).toISOString()}&image=b`)).toEqual([second]);
    const states = { queued: 2, starting: 0, running: 0, finished: 0 };
    expect(await ask("/v1/runs/count?image=a")).toEqual({ total: 2, states, isComplete: true });
    const page = await ask<List>("/v1/runs?limit=2");
    expect(page.next).toBe(second);
    expect(await listed(`?cursor=${page.next}`)).toEqual([first]);
  });

  test.each([
    ["label=x", "label"],
    ["label=%3Dx", "label"],
    [Array(9).fill("label=a%3Db").join("&"), "label"],
    ["since=yesterday", "since"],
    ["tenant=A!", "tenant"],
    ["state=over", "state"],
    ["limit=501", "limit"],
    ["color=red", "query"],
  ])("is refused if it is asked for by %s", async (query) => {
    for (const path of ["/v1/runs", "/v1/runs/count"]) await ask(`${path}?${query}`, "key-a", 400);
  });

  test("tells a tenant of nobody else's runs, and an operator of whose it wants", async () => {
    const [mine, theirs] = [await submit("acme"), await submit("other")];
    expect(await listed("")).toEqual([mine]);
    expect(await listed("?tenant=acme")).toEqual([mine]);
    for (const path of ["/v1/runs", "/v1/runs/count"])
      for (const tenant of ["other", "*"])
        expect(await ask(`${path}?tenant=${tenant}`, "key-a", 403)).toMatchObject({ reason: "scope_missing" });
    expect(await listed("?tenant=other", "key-r")).toEqual([theirs]);
    const { runs } = await ask<List>("/v1/runs?tenant=*", "key-r");
    expect(runs.map(({ id, tenant }) => [id, tenant])).toEqual([
      [theirs, "other"],
      [mine, "acme"],
    ]);
    expect(await ask("/v1/runs/count?tenant=*", "key-r")).toMatchObject({ total: 2 });
  });
});

describe("what is kept", () => {
  test("is no more runs than a tenant may keep: the oldest finished ones go with all that is theirs", async () => {
    const small = new GatewayStore({ redis: gatewayRedis, ...limits, maxKept: 3 });
    const ids: string[] = [];
    const waits = await small.submit({ tenant: "other", request: { image: "z" }, waiter: undefined });
    await store.cancel((await store.get(waits, "other")) as never);
    for (let i = 0; i < 5; i++) {
      const id = await small.submit({
        tenant: "acme",
        request: { image: `i${i}`, labels: { n: `${i}` } },
        waiter: undefined,
      });
      await bring(id, "running");
      await worker.append({ id, attempt: 1 }, "stdout", 0, Buffer.from("x"));
      await end(id);
      ids.push(id);
    }
    expect(await listed("")).toEqual(ids.slice(2).toReversed());
    for (const id of ids.slice(0, 2)) expect((await redis.keys("*")).filter((name) => name.includes(id))).toEqual([]);
    expect((await redis.keys("*")).filter((name) => /image:i[01]$|n=[01]$/.test(name))).toEqual([]);
    expect(await redis.zrange(keys.finished, "0", "-1")).not.toContain(ids[0]);
    expect(await listed("", "key-o")).toEqual([waits]); // Another tenant's.
  });

  test("of unfinished runs is all", async () => {
    const small = new GatewayStore({ redis: gatewayRedis, ...limits, maxKept: 1 });
    for (let i = 0; i < 3; i++) await small.submit({ tenant: "acme", request: { image: "z" }, waiter: undefined });
    expect(await listed("")).toHaveLength(3);
  });

  test("goes when its retention is over, and the tenant with its last run", async () => {
    const id = await submit("acme", { labels: { a: "b" } });
    await bring(id, "finished");
    expect(await redis.zrange(keys.filed, "0", "-1")).toEqual(["acme"]);
    await redis.zadd(keys.finished, 0, id);
    await eventually(async () => expect(await redis.exists(keys.run(id))).toBe(0)); // By the gateway's own sweep.
    expect((await redis.keys("*")).filter((name) => /:runs?:|:finished|:filed/.test(name))).toEqual([]);
    await ask(`/v1/runs/${id}`, "key-a", 404);
  });

  test("is forgotten when it is told to, if it has finished and is the caller's", async () => {
    const goesOn = await submit("acme");
    await bring(goesOn, "running");
    expect(await ask(`/v1/runs/${goesOn}`, "key-a", 409, "DELETE")).toMatchObject({ reason: "run_not_finished" });
    const over = await submit("acme", { image: "x", labels: { a: "b" } });
    await bring(over, "finished");
    await ask(`/v1/runs/${over}`, "key-o", 404, "DELETE");
    await ask(`/v1/runs/${over}`, "key-a", 204, "DELETE");
    expect((await redis.keys("*")).filter((name) => name.includes(over) || /image:x|label/.test(name))).toEqual([]);
    await ask(`/v1/runs/${over}`, "key-a", 404, "DELETE");
    expect(await listed("")).toEqual([goesOn]);
  });

  test("is forgotten also if its record cannot be read", async () => {
    const id = await submit("acme");
    await bring(id, "finished");
    await redis.hset(keys.run(id), "request", "{");
    await redis.zadd(keys.finished, 0, id);
    await eventually(async () => expect(await redis.exists(keys.run(id))).toBe(0));
    expect(parseRecord(await redis.hgetall(keys.run(id)))).toBeUndefined();
    expect(await listed("?state=finished")).toEqual([]);
  });
});

test("the first id of a moment is before all that are made in it, and after all that were made before", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 45 }), (ms) => {
      expect(firstRunId(ms) <= newRunId(ms)).toBe(true);
      expect(firstRunId(ms) > newRunId(ms - 1)).toBe(true);
    }),
  );
});
