// Webhooks end to end: gateways as processes, a real Redis, a worker whose program is a script, and a receiver that is an HTTP server on
// loopback. What would come later is made due by the test: it moves the moment that stands in Redis.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { createClient } from "../../cli/client.ts";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Run } from "../../core/run.ts";
import { type Deliveries, RunFinished, type WebhookSecret } from "../../core/webhook.ts";
import { type FakeAttempt, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { isSignedWith, type Receiver, startReceiver, TOKEN } from "../helpers/receiver.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let receiver: Receiver;

const startOne = async () => {
  const one = await startGateway({
    redisUrl: server.url,
    keys: { acme: "key-a", other: "key-o" },
    env: { MAYFLY_WEBHOOK_ALLOW: "127.0.0.1", MAYFLY_WEBHOOK_TIMEOUT: "2s" },
  });
  await vi.waitFor(async () => expect((await one.fetch("/readyz")).status).toBe(200));
  return one;
};

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startOne();
});
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  await receiver.stop();
  await redis.flushall();
});
afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

const call = (method: string, path: string, { key = "key-a", body, via = gateway }: CallOptions = {}) =>
  via.fetch(path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
interface CallOptions {
  readonly key?: string;
  readonly body?: unknown;
  readonly via?: Gateway;
}
const answered = async <T>(response: Promise<Response>, status: number): Promise<T> => {
  const answer = await response;
  const value = await answer.json();
  expect({ status: answer.status, ...(value as object) }).toMatchObject({ status });
  return value as T;
};

/** Of a run that is accepted; it ends once there is a worker. */
const submit = async (request: Partial<RunRequest> = {}, via = gateway) => {
  const body = { image: "busybox", webhook: { url: receiver.url }, ...request };
  const response = await call("POST", "/v1/runs", { body, via });
  expect([200, 202]).toContain(response.status); // A worker that is there may be quicker than the answer.
  return ((await response.json()) as Run).id;
};
async function work(behave?: (attempt: FakeAttempt) => Promise<unknown>) {
  const worker = await startFakeWorker({ redisUrl: server.url, ...(behave ? { behave } : {}) });
  onTestFinished(() => worker.stop());
}
const deliveries = (id: string, via = gateway) =>
  answered<Deliveries>(call("GET", `/v1/runs/${id}/deliveries`, { via }), 200);
/** Waits until so many attempts have been answered, and the last has been judged. */
const settled = (id: string, count: number, via = gateway) =>
  vi.waitFor(
    async () => {
      const told = await deliveries(id, via);
      expect(told.attempts.at(-1)?.ms).toBeDefined();
      expect(told.attempts).toHaveLength(count);
      return told;
    },
    { timeout: 10_000, interval: 20 },
  );
const makeDue = (id: string) => redis.zadd(keys.webhooks, "XX", "CH", 0, `run:${id}`);
const reasonOf = async (response: Promise<Response>) => ((await (await response).json()) as { reason: string }).reason;

describe("a run with a webhook", () => {
  test("is told once, in full but for its output, and signed with the tenant's secret", async () => {
    await work(async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", "a secret of the program's\n");
      await attempt.exit(3);
    });
    const id = await submit({ labels: { build: "17" } });
    expect(await settled(id, 1)).toMatchObject({ state: "delivered", attempts: [{ attempt: 1, status: 204 }] });
    expect(receiver.requests).toHaveLength(1);
    const [heard] = receiver.requests;
    if (!heard) throw new Error("nothing was heard");
    expect(heard).toMatchObject({ method: "POST", path: `/hook?token=${TOKEN}` });
    expect(heard.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": `${id}-finished`,
      "webhook-timestamp": expect.stringMatching(/^\d{10}$/),
      "mayfly-attempt": "1",
    });
    const told = RunFinished.parse(JSON.parse(heard.body));
    const run = await answered<Run>(call("GET", `/v1/runs/${id}`), 200);
    const { data: _, encoding: __, ...facts } = run.stdout ?? { data: "", encoding: "" };
    expect(told).toMatchObject({ type: "run.finished", timestamp: run.finishedAt });
    expect(told.data).toMatchObject({ id, outcome: { kind: "exited", exitCode: 3 }, labels: { build: "17" } });
    expect(told.data.receipt).toEqual(run.receipt);
    expect(told.data.stdout).toEqual(facts);
    expect(heard.body).not.toContain("a secret of");
    const { secret } = await answered<WebhookSecret>(call("GET", "/v1/webhooks/secret"), 200);
    expect(isSignedWith(secret, heard)).toBe(true);
    expect(isSignedWith(secret, { ...heard, body: heard.body.replace('"17"', '"18"') })).toBe(false);
  });

  test("is told of an end that it has without a host", async () => {
    const id = await submit();
    expect(await deliveries(id)).toMatchObject({ state: "waiting", attempts: [] });
    await call("POST", `/v1/runs/${id}/cancel`);
    const [heard] = await receiver.heard(1);
    expect(JSON.parse(heard?.body ?? "").data).toMatchObject({ id, outcome: { kind: "cancelled" } });
  });

  test("leaves nothing that lasts longer than it", async () => {
    await work();
    const id = await submit();
    await settled(id, 1);
    expect(await redis.zcard(keys.webhooks)).toBe(0);
    expect(await redis.exists(keys.deliveries(`run:${id}`))).toBe(1);
    expect((await call("DELETE", `/v1/runs/${id}`)).status).toBe(204);
    expect((await redis.keys("*")).filter((name) => name.includes(id))).toEqual([]);
  });

  test("is told of in the log by host, attempt and status, without the URL's path, the body or the secret", async () => {
    await work();
    const id = await submit({ labels: { word: "of-the-caller" } });
    await settled(id, 1);
    const { secret } = await answered<WebhookSecret>(call("GET", "/v1/webhooks/secret"), 200);
    const lines = gateway.log.filter((line) => line.entry === `run:${id}`);
    expect(lines).toEqual([
      expect.objectContaining({
        event: "webhook.delivered",
        host: `127.0.0.1:${receiver.port}`,
        tenant: "acme",
        attempt: 1,
        status: 204,
        ms: expect.any(Number),
      }),
    ]);
    const all = JSON.stringify(gateway.log);
    for (const word of [TOKEN, "of-the-caller", secret]) expect(all).not.toContain(word);
  });
});

describe("a delivery that fails", () => {
  test("with 500 is made again after its delay, with the same id, a new attempt and a signature that holds", async () => {
    receiver.answer(() => 500);
    await work();
    const id = await submit();
    const failed = await settled(id, 1);
    expect(failed).toMatchObject({ state: "pending", attempts: [{ status: 500 }] });
    const delay = Date.parse(failed.nextAttemptAt ?? "") - Date.parse(failed.attempts[0]?.at ?? "");
    expect(delay).toBeGreaterThanOrEqual(4_000);
    receiver.answer(() => 200);
    await makeDue(id);
    expect(await settled(id, 2)).toMatchObject({ state: "delivered", attempts: [{ status: 500 }, { status: 200 }] });
    const [first, second] = receiver.requests;
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(second?.headers["mayfly-attempt"]).toBe("2");
    expect(second?.body).toBe(first?.body);
    const { secret } = await answered<WebhookSecret>(call("GET", "/v1/webhooks/secret"), 200);
    for (const heard of receiver.requests) expect(isSignedWith(secret, heard)).toBe(true);
  });

  test("since nobody listens is made again when somebody does", async () => {
    const { port, url } = receiver;
    await receiver.stop();
    await work();
    const id = await submit({ webhook: { url } });
    expect(await settled(id, 1)).toMatchObject({ state: "pending", attempts: [{ fault: "unreachable" }] });
    receiver = await startReceiver(undefined, port);
    await makeDue(id);
    expect(await settled(id, 2)).toMatchObject({ state: "delivered" });
  });

  test("since the receiver is silent ends with its time, and is made again", async () => {
    receiver.answer(() => undefined);
    await work();
    const id = await submit();
    expect(await settled(id, 1)).toMatchObject({ state: "pending", attempts: [{ fault: "timed_out" }] });
  });

  test("with 410 is not made again", async () => {
    receiver.answer(() => 410);
    await work();
    const id = await submit();
    expect(await settled(id, 1)).toMatchObject({ state: "failed", attempts: [{ status: 410 }] });
    expect(await redis.zcard(keys.webhooks)).toBe(0);
  });

  test("with a redirect does not follow it", async () => {
    const elsewhere = await startReceiver();
    onTestFinished(() => elsewhere.stop());
    receiver.answer((_, response) => void response.writeHead(307, { location: elsewhere.url }).end());
    await work();
    const id = await submit();
    expect(await settled(id, 1)).toMatchObject({ state: "pending", attempts: [{ status: 307 }] });
    expect(elsewhere.requests).toEqual([]);
  });

  test("is put off as a receiver asks that has too much to do", async () => {
    receiver.answer((_, response) => void response.writeHead(503, { "retry-after": "3600" }).end());
    await work();
    const { nextAttemptAt, attempts } = await settled(await submit(), 1);
    expect(Date.parse(nextAttemptAt ?? "") - Date.parse(attempts[0]?.at ?? "")).toBeGreaterThanOrEqual(3_600_000);
  });
});

test("a delivery that waits for its next attempt outlives a restart of Redis", async () => {
  receiver.answer(() => 500);
  await work();
  const id = await submit();
  await settled(id, 1);
  await server.restart({ signal: "SIGTERM" });
  receiver.answer(() => 200);
  await vi.waitFor(async () => expect((await gateway.fetch("/readyz")).status).toBe(200), { timeout: 10_000 });
  await makeDue(id);
  expect(await settled(id, 2)).toMatchObject({ state: "delivered" });
});

test("an answer that never ends is taken by its status", async () => {
  receiver.answer((_, response) => {
    response.writeHead(200);
    const flow = setInterval(() => response.write(Buffer.alloc(65_536)), 1);
    response.on("close", () => clearInterval(flow));
    return undefined;
  });
  await work();
  expect(await settled(await submit(), 1)).toMatchObject({ state: "delivered", attempts: [{ status: 200 }] });
});

describe("more gateways than one", () => {
  test("tell of each run once", async () => {
    const second = await startOne();
    onTestFinished(() => void second.stop());
    const ids = await Promise.all(Array.from({ length: 40 }, () => submit()));
    await work();
    await vi.waitFor(
      async () => {
        for (const id of ids) expect((await deliveries(id)).state).toBe("delivered");
      },
      { timeout: 20_000, interval: 100 },
    );
    expect(await redis.zcard(keys.webhooks)).toBe(0);
    expect(receiver.requests.map(({ headers }) => headers["webhook-id"]).toSorted()).toEqual(
      ids.map((id) => `${id}-finished`).toSorted(),
    );
  });

  test("stand in for one that dies with a delivery under way: the run is told again once the lease is over", async () => {
    await gateway.stop("SIGKILL");
    const doomed = await startOne();
    receiver.answer(() => undefined);
    await work();
    const id = await submit({}, doomed);
    await receiver.heard(1);
    await doomed.stop("SIGKILL");
    receiver.answer(() => 200);
    gateway = await startOne();
    expect(await deliveries(id)).toMatchObject({ state: "pending", attempts: [{ attempt: 1 }] });
    expect(receiver.requests).toHaveLength(1);
    await makeDue(id);
    expect(await settled(id, 2)).toMatchObject({ state: "delivered", attempts: [{ attempt: 1 }, { status: 200 }] });
    expect(new Set(receiver.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  });

  test("tell of a run that ended while none of them lived", async () => {
    const id = await submit();
    await gateway.stop("SIGKILL");
    await work();
    await vi.waitFor(async () => expect(await redis.hget(keys.run(id), "state")).toBe("finished"));
    expect(receiver.requests).toEqual([]);
    gateway = await startOne();
    expect(await settled(id, 1)).toMatchObject({ state: "delivered" });
  });
});

describe("telling once more", () => {
  const retry = (id: string, key = "key-a") => call("POST", `/v1/runs/${id}/deliveries/retry`, { key });

  test("is possible after a delivery, with the same id", async () => {
    await work();
    const id = await submit();
    await settled(id, 1);
    await answered(retry(id), 202);
    expect(await settled(id, 2)).toMatchObject({ state: "delivered" });
    expect(receiver.requests.map(({ headers }) => [headers["webhook-id"], headers["mayfly-attempt"]])).toEqual([
      [`${id}-finished`, "1"],
      [`${id}-finished`, "2"],
    ]);
  });

  test("is possible after it was given up, and begins the schedule anew", async () => {
    receiver.answer(() => 410);
    await work();
    const id = await submit();
    expect((await settled(id, 1)).state).toBe("failed");
    receiver.answer(() => 500);
    await answered(retry(id), 202);
    expect((await settled(id, 2)).state).toBe("pending");
    expect(await redis.hget(keys.deliveries(`run:${id}`), "tries")).toBe("1");
  });

  test("does not double what is under way", async () => {
    receiver.answer(() => undefined);
    await work();
    const id = await submit();
    await receiver.heard(1);
    await answered(retry(id), 202);
    expect((await settled(id, 1)).attempts).toMatchObject([{ fault: "timed_out" }]);
    expect(receiver.requests).toHaveLength(1);
  });

  test("is refused before the run's end, without a webhook, and to another tenant", async () => {
    const id = await submit();
    expect(await reasonOf(retry(id))).toBe("run_not_finished");
    expect(await reasonOf(retry(id, "key-o"))).toBe("run_not_found");
    const { id: mute } = await answered<Run>(call("POST", "/v1/runs", { body: { image: "busybox" } }), 202);
    expect(await reasonOf(retry(mute))).toBe("webhook_not_found");
    expect(await reasonOf(call("GET", `/v1/runs/${mute}/deliveries`))).toBe("webhook_not_found");
  });
});

describe("the command", () => {
  const CLI = join(import.meta.dirname, "../../cli/main.ts");
  const mayfly = async (...args: string[]) => {
    const env = { MAYFLY_URL: gateway.url, MAYFLY_API_KEY: "key-a" };
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, ...args], { env });
    return stdout;
  };

  test("makes a run with a webhook, shows what came of it, and has it told once more", async () => {
    receiver.answer(() => 410);
    await work();
    const id = (await mayfly("run", "-d", "--webhook", receiver.url, "busybox")).trim();
    await settled(id, 1);
    expect(await mayfly("deliveries", id)).toMatch(new RegExp(`^${id}: failed\nATTEMPT .*\n1 .* 410\n$`));
    receiver.answer(() => 200);
    expect(JSON.parse(await mayfly("deliveries", "--retry", "--json", id))).toMatchObject({
      run: id,
      url: receiver.url,
    });
    expect((await settled(id, 2)).state).toBe("delivered");
  });

  test("is built on a client that reads and replaces the secret, too", async () => {
    const { webhooks } = createClient({ url: gateway.url, apiKey: "key-a" });
    const before = await webhooks.secret();
    const after = await webhooks.rotateSecret();
    expect(after.previous).toMatchObject([{ secret: before.secret }]);
    expect(await webhooks.secret()).toEqual(after);
  });
});

describe("a tenant", () => {
  const secretOf = (key: string) => answered<WebhookSecret>(call("GET", "/v1/webhooks/secret", { key }), 200);

  test("sees neither the deliveries nor the secret of another", async () => {
    await work();
    const id = await submit();
    await settled(id, 1);
    expect(await reasonOf(call("GET", `/v1/runs/${id}/deliveries`, { key: "key-o" }))).toBe("run_not_found");
    const [own, others] = [await secretOf("key-a"), await secretOf("key-o")];
    expect(own.secret).not.toBe(others.secret);
    const [heard] = receiver.requests;
    expect(heard && isSignedWith(own.secret, heard)).toBe(true);
    expect(heard && isSignedWith(others.secret, heard)).toBe(false);
  });

  test("has one secret, whoever asks first, that no cache keeps", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => secretOf("key-a")));
    expect(new Set(all.map(({ secret }) => secret)).size).toBe(1);
    expect((await call("GET", "/v1/webhooks/secret")).headers.get("cache-control")).toBe("no-store");
  });

  test("may replace its secret: both sign for a day, and then the new one alone", async () => {
    await work();
    const before = await secretOf("key-a");
    const after = await answered<WebhookSecret>(call("POST", "/v1/webhooks/secret/rotate"), 200);
    expect(after.secret).not.toBe(before.secret);
    expect(after.previous.map(({ secret }) => secret)).toEqual([before.secret]);
    const untilMs = Date.parse(after.previous[0]?.until ?? "") - Date.now();
    expect(untilMs).toBeGreaterThan(23 * 3_600_000);
    expect(untilMs).toBeLessThan(25 * 3_600_000);
    const signedBy = async (secret: string) => {
      const id = await submit();
      await settled(id, 1);
      const heard = receiver.requests.find(({ headers }) => headers["webhook-id"] === `${id}-finished`);
      return heard ? [isSignedWith(secret, heard), isSignedWith(after.secret, heard)] : [];
    };
    expect(await signedBy(before.secret)).toEqual([true, true]);
    await redis.zadd(keys.webhookSecrets("acme"), "XX", 1, before.secret); // The day is over.
    expect(await signedBy(before.secret)).toEqual([false, true]);
    expect(await secretOf("key-a")).toEqual({ secret: after.secret, previous: [] });
  });

  test("that replaces its secret again and again has no more than four that sign", async () => {
    for (let i = 0; i < 6; i++) await call("POST", "/v1/webhooks/secret/rotate");
    expect((await secretOf("key-a")).previous).toHaveLength(3);
  });
});

describe("a webhook is refused when its run is asked for, and its field is named", () => {
  test.each([
    ["an inner address", "https://169.254.169.254/latest/meta-data/"],
    ["an inner address, written otherwise", "https://0xa000001/"],
    ["an inner address in IPv6", "https://[::ffff:10.0.0.1]/"],
    ["http to a host that is not allowed", "http://example.com/hook"],
    ["another scheme", "ftp://example.com/"],
    ["credentials", "https://user:password@example.com/"],
    ["a fragment", "https://example.com/#a"],
    ["no URL", "example.com"],
    ["a URL that is too long", `https://example.com/${"a".repeat(2048)}`],
  ])("%s", async (_, url) => {
    const response = await call("POST", "/v1/runs", { body: { image: "busybox", webhook: { url } } });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { errors: unknown[] }).errors).toEqual([
      { field: "webhook.url", message: expect.any(String) },
    ]);
    expect(await redis.keys("*run_*")).toEqual([]);
  });
});
