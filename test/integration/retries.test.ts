// Runs that are tried again: after which endings, after how long, how often; and what is left of them when nothing has helped.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import { KEPT_ATTEMPTS } from "../../core/retry.ts";
import type { Outcome, Run } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let worker: FakeWorker | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url, env: { MAYFLY_MAX_QUEUED: "4" } });
});
beforeEach(async () => {
  await redis.flushall();
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});
afterEach(async () => {
  await worker?.stop();
  worker = undefined;
});
afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

const work = async (behave: (attempt: FakeAttempt) => Promise<unknown>) => {
  worker = await startFakeWorker({ redisUrl: server.url, behave });
};
const call = async <T>(method: string, path: string, status: number, body?: object, headers = {}): Promise<T> => {
  const json = body && { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
  const answer = await gateway.fetch(path, { method, headers, ...json });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([status, text]);
  return (text === "" ? undefined : JSON.parse(text)) as T;
};
const NOW = { initial: "0s", max: "0s" } as const;
const submit = (request: Partial<RunRequest>) => call<Run>("POST", "/v1/runs", 202, { image: "busybox", ...request });
/** Of a run that is waited for. */
const ended = async (request: Partial<RunRequest>) =>
  call<Run>("POST", "/v1/runs", 200, { image: "busybox", ...request }, { prefer: "wait=60" });
const letters = async () => (await call<{ runs: Run[] }>("GET", "/v1/dead-letters", 200)).runs.map(({ id }) => id);

/** Fails with these outcomes, one after the other, and then ends well. */
const failing =
  (...outcomes: Outcome[]) =>
  async (attempt: FakeAttempt) => {
    const outcome = outcomes[attempt.record.attempt - 1];
    await attempt.started();
    await attempt.write("stdout", `${attempt.record.attempt};`);
    return outcome ? attempt.end(outcome) : attempt.exit(0);
  };
const EXITED_7: Outcome = { kind: "exited", exitCode: 7 };
const SEGFAULT: Outcome = { kind: "signaled", signal: "SIGSEGV" };

describe("a run with a policy", () => {
  test("is tried again after each ending that it names, with nothing of the old output, and tells of each", async () => {
    await work(failing(EXITED_7, SEGFAULT));
    const run = await ended({ retry: { attempts: 3, backoff: NOW } });
    expect(run).toMatchObject({ attempt: 3, outcome: { kind: "exited", exitCode: 0 }, stdout: { data: "3;" } });
    expect(run.attempts).toMatchObject([
      { attempt: 1, outcome: EXITED_7, receipt: { attempt: 1 } },
      { attempt: 2, outcome: SEGFAULT, receipt: { attempt: 2 } },
    ]);
    expect(await letters()).toEqual([]);
  });

  test("ends with what it does not name, and with its last attempt", async () => {
    await work(failing(SEGFAULT));
    const unnamed = await ended({ retry: { attempts: 3, on: ["exited"], backoff: NOW } });
    expect(unnamed).toMatchObject({ attempt: 1, outcome: SEGFAULT });
    await worker?.stop();
    await work(failing(EXITED_7, EXITED_7, EXITED_7));
    const spent = await ended({ retry: { attempts: 2, backoff: NOW } });
    expect(spent).toMatchObject({ attempt: 2, outcome: EXITED_7 });
    expect(await letters()).toEqual([spent.id, unnamed.id]);
  });

  test("waits for its back-off, says until when, and can be cancelled meanwhile", async () => {
    await work(failing(EXITED_7));
    const { id } = await submit({ retry: { attempts: 2, backoff: { initial: "10m", max: "10m", jitter: false } } });
    await eventually(async () => {
      const run = await call<Run>("GET", `/v1/runs/${id}`, 200);
      expect(run).toMatchObject({ state: "queued", attempt: 2, waiting: { reason: "delayed" } });
      const failedAt = Date.parse(run.attempts?.[0]?.finishedAt ?? "");
      expect(Date.parse(run.waiting?.until ?? "") - failedAt).toBe(600_000);
    });
    const over = await call<Run>("POST", `/v1/runs/${id}/cancel`, 200);
    expect(over.outcome).toEqual({ kind: "cancelled" });
    expect(await letters()).toEqual([]);
    expect(await redis.zcard(keys.delayed)).toBe(0);
  });

  test("remembers the last attempts only", async () => {
    await work(failing(...Array<Outcome>(20).fill(EXITED_7)));
    const run = await ended({ retry: { attempts: 14, backoff: NOW } });
    expect(run.attempts?.map(({ attempt }) => attempt)).toEqual(
      Array.from({ length: KEPT_ATTEMPTS }, (_, i) => 14 - KEPT_ATTEMPTS + i),
    );
  });

  test("that was to be cancelled is not tried again", async () => {
    await work(async (attempt) => {
      await attempt.started();
      await fetch(`${gateway.url}/v1/runs/${attempt.record.id}/cancel`, { method: "POST" });
      await attempt.end(EXITED_7);
    });
    expect(await ended({ retry: { attempts: 3, backoff: NOW } })).toMatchObject({ attempt: 1, outcome: EXITED_7 });
  });

  test("that is lost for good is tried again if it says so, after `retries` and without them", async () => {
    await work(async ({ store, record }) => {
      await store.started(record);
      await store.release(record, "gone");
    });
    const run = await ended({ retries: 1, retry: { attempts: 2, on: ["lost"], backoff: NOW } });
    expect(run).toMatchObject({ attempt: 3, outcome: { kind: "lost" } });
    expect(run.attempts).toMatchObject([{ outcome: { kind: "lost" } }, { outcome: { kind: "lost" } }]);
  });

  test.each([
    [{ attempts: 21 }, "retry.attempts"],
    [{ attempts: 2, on: ["cancelled"] }, "retry.on.0"],
    [{ attempts: 2, on: [] }, "retry.on"],
    [{ attempts: 2, backoff: { factor: 11 } }, "retry.backoff.factor"],
    [{ attempts: 2, backoff: { initial: "10m" } }, "retry.backoff.initial"],
    [{ attempts: 2, backoff: { max: "25h" } }, "retry.backoff.max"],
  ])("is refused with the field's name if it asks for what may not be: %j", async (retry, field) => {
    const { errors } = await call<{ errors: { field: string }[] }>("POST", "/v1/runs", 400, { image: "a", retry });
    expect(errors.map((each) => each.field)).toEqual([field]);
  });
});

describe("a dead letter", () => {
  const fail = async (request: Partial<RunRequest> = {}) => {
    const { id } = await ended({ retry: { attempts: 1 }, ...request });
    return id;
  };

  test("is run again as a new run with its input and its files, and leaves the list", async () => {
    await work(failing(EXITED_7));
    const files = [{ path: "/in/a", content: "file" }];
    const id = await fail({ stdin: "input", files, labels: { a: "b" }, delay: "1ms" });
    await worker?.stop();
    const retried = await call<{ deadLetter: string; run: string }>("POST", `/v1/dead-letters/${id}/retry`, 200);
    expect(retried.deadLetter).toBe(id);
    const run = await call<Run>("GET", `/v1/runs/${retried.run}`, 200);
    expect(run).toMatchObject({ retriedFrom: id, labels: { a: "b" }, state: "queued", attempt: 1 });
    expect(await redis.get(keys.stdin(run.id))).toBe("input");
    expect(JSON.parse((await redis.get(keys.files(run.id))) ?? "")).toEqual(files);
    expect(await redis.exists(keys.stdin(id), keys.files(id))).toBe(0);
    expect(await letters()).toEqual([]);
    await call("POST", `/v1/dead-letters/${id}/retry`, 404);
    expect((await call<Run>("GET", `/v1/runs/${id}`, 200)).outcome).toEqual(EXITED_7);
  });

  test("is no run that had no policy, ended well or was cancelled", async () => {
    await work(failing(EXITED_7));
    await ended({});
    await worker?.stop();
    await work(failing());
    await ended({ retries: 2 });
    expect(await letters()).toEqual([]);
  });

  test("is run again with all others, page by page, as far as the queue has room", async () => {
    await work(failing(EXITED_7));
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) ids.unshift(await fail());
    await worker?.stop();
    type Sweep = { retried: { deadLetter: string }[]; next?: string };
    const sweep = (query: string) => call<Sweep>("POST", `/v1/dead-letters/retry${query}`, 200);
    const first = await sweep("?limit=3");
    expect(first.retried.map((each) => each.deadLetter)).toEqual(ids.slice(0, 3));
    const second = await sweep(`?cursor=${first.next}`);
    expect(second).toMatchObject({ retried: [{ deadLetter: ids[3] }], next: ids[3] });
    await call("POST", "/v1/dead-letters/retry", 429);
    expect(await letters()).toEqual(ids.slice(4));
  });

  test("may be dismissed, and is kept as a run", async () => {
    await work(failing(EXITED_7));
    const id = await fail({ stdin: "input" });
    await call("DELETE", `/v1/dead-letters/${id}`, 204);
    await call("DELETE", `/v1/dead-letters/${id}`, 404);
    expect(await letters()).toEqual([]);
    expect(await redis.exists(keys.stdin(id))).toBe(0);
    await call("GET", `/v1/runs/${id}`, 200);
  });
});
