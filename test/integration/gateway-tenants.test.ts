// Tenants and their rates: two gateways, one Redis.

import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { channels, keys as names } from "../../core/keys.ts";
import type { Tenant, TenantPage } from "../../core/tenant.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const OPERATOR = "the-operators-key";
const ACME = "a-key-of-acme";

let server: RedisServer;
let redis: Redis;
let one: Gateway;
let other: Gateway;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  const files = { keys: { acme: ACME }, operators: { ops: OPERATOR } };
  one = await startGateway({ redisUrl: server.url, ...files });
  other = await startGateway({ redisUrl: server.url, ...files });
  for (const gateway of [one, other])
    await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  await one.stop();
  await other.stop();
  redis.disconnect();
  await server.stop();
});

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

interface Asked {
  readonly key?: string;
  readonly body?: unknown;
  readonly at?: Gateway;
}

function ask(path: string, { key = OPERATOR, body, at = one }: Asked = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return at.fetch(path, body === undefined ? { headers } : { method: "PATCH", headers, body: JSON.stringify(body) });
}
const set = async (name: string, body: object) => {
  const response = await ask(`/v1/tenants/${name}`, { body });
  expect(response.status).toBe(200);
  return (await response.json()) as Tenant;
};
const get = async (name: string) => (await (await ask(`/v1/tenants/${name}`)).json()) as Tenant;
const list = async (query = "") => (await (await ask(`/v1/tenants${query}`)).json()) as TenantPage;

/** Every command that Redis carries out from now on, those of scripts too. */
async function monitored(): Promise<string[][]> {
  const seen: string[][] = [];
  const monitor = await redis.monitor();
  monitor.on("monitor", (_time: string, args: string[]) => seen.push(args));
  onTestFinished(() => monitor.disconnect());
  return seen;
}

describe("a tenant's settings", () => {
  test("are in Redis as the scripts of runs read them: decimal, and memory in bytes", async () => {
    const settings = { weight: 3, running: 50, queued: 0, cpus: 1.5, memory: "64GiB", rate: 0.25, burst: 10 };
    expect(await set("acme", settings)).toEqual({ name: "acme", ...settings, keys: 0 });
    expect(await redis.hgetall("{mayfly}:tenant:acme")).toEqual({
      ...{
        weight: "3",
        running: "50",
        queued: "0",
        cpus: "1.5",
        memoryBytes: "68719476736",
        rate: "0.25",
        burst: "10",
      },
    });
    expect(await set("acme", { cpus: 1_000_000, rate: 0.001 })).toMatchObject({ cpus: 1_000_000, rate: 0.001 });
    expect(await redis.hmget(names.tenant("acme"), "cpus", "rate")).toEqual(["1000000", "0.001"]);
  });

  test("stay unless they are named, and null takes one away", async () => {
    await set("acme", { running: 5, memory: "1GiB" });
    await set("acme", { running: null, queued: 7 });
    expect(await get("acme")).toEqual({ name: "acme", weight: 1, queued: 7, memory: "1GiB", keys: 0 });
  });

  test("of a tenant that nobody has heard of are those of any", async () => {
    expect(await get("nobody")).toEqual({ name: "nobody", weight: 1, keys: 0 });
    expect((await list()).tenants).toEqual([]);
  });

  test("are listed by name, in pages, while there are settings or keys, and not after", async () => {
    for (const name of ["b", "a", "c"]) await set(name, { running: 1 });
    const body = JSON.stringify({ tenant: "d", name: "ci", scopes: ["read"] });
    const headers = { authorization: `Bearer ${OPERATOR}`, "content-type": "application/json" };
    const made = (await (await one.fetch("/v1/keys", { method: "POST", headers, body })).json()) as { id: string };
    expect((await list()).tenants.map(({ name, keys }) => [name, keys])).toEqual([
      ["a", 0],
      ["b", 0],
      ["c", 0],
      ["d", 1],
    ]);
    const page = await list("?limit=3");
    expect((await list(`?limit=3&cursor=${page.next}`)).tenants.map(({ name }) => name)).toEqual(["d"]);
    await set("b", { running: null });
    await one.fetch(`/v1/keys/${made.id}`, { method: "DELETE", headers });
    expect((await list()).tenants.map(({ name }) => name)).toEqual(["a", "c"]);
  });

  test.each([
    ["weight", 0, "is less than 1"],
    ["weight", 1.5, "is not of the type int"],
    ["weight", 1_001, "is more than 1000"],
    ["running", 0, "is less than 1"],
    ["queued", -1, "is less than 0"],
    ["cpus", 0, "is less than 0.01"],
    ["memory", "1MiB", "is less than 16MiB"],
    ["memory", 1024, "is not of the type string"],
    ["memory", "lots", "is not a size"],
    ["rate", 0, "is less than 0.001"],
    ["burst", 1_000_001, "is more than 1000000"],
    ["quota", 1, "is not a field"],
  ])("are refused if %s is %j, by the name of the field and its limit", async (field, value, message) => {
    const response = await ask("/v1/tenants/acme", { body: { [field]: value } });
    expect(response.status).toBe(400);
    const { errors } = (await response.json()) as { errors: unknown[] };
    expect(errors).toContainEqual({ field, message: expect.stringContaining(message) });
  });

  test("are refused if none is named, and to a tenant that is no operator", async () => {
    expect((await ask("/v1/tenants/acme", { body: {} })).status).toBe(400);
    expect((await ask("/v1/tenants/Acme", { body: { running: 1 } })).status).toBe(400);
    expect((await ask("/v1/tenants/acme", { key: ACME })).status).toBe(403);
  });
});

describe("a tenant's rate", () => {
  /** Both gateways know of it. */
  const limited = async (settings: object) => {
    await set("acme", settings);
    for (const at of [one, other])
      await eventually(async () =>
        expect((await ask("/v1/runs", { key: ACME, at })).headers.has("ratelimit")).toBe(true),
      );
    await redis.del(names.bucket("acme"));
  };

  test("is exact over all gateways: of sixty requests at once at two of them, as many pass as there may be", async () => {
    await limited({ rate: 0.001, burst: 20 });
    const asked = Array.from({ length: 60 }, (_, i) => ask("/v1/runs", { key: ACME, at: i % 2 === 0 ? one : other }));
    const answers = await Promise.all(asked);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(40);
    const left = answers.map(({ headers }) => Number(/r=(\d+)/.exec(String(headers.get("ratelimit")))?.[1]));
    expect(left.toSorted((a, b) => b - a).slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => 19 - i));
  });

  test("is told with each answer, and with a 429 when to come back", async () => {
    await limited({ rate: 0.01, burst: 1 });
    const first = await ask("/v1/runs", { key: ACME });
    expect(first.status).toBe(200);
    expect(first.headers.get("ratelimit-policy")).toBe('"requests";q=1;w=100');
    expect(first.headers.get("ratelimit")).toMatch(/^"requests";r=0;t=(99|100)$/);
    const refused = await ask("/v1/runs", { key: ACME, at: other });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(90);
    expect(await refused.json()).toMatchObject({ code: "resource_exhausted", reason: "rate_limited" });
  });

  test("lets requests in again as time goes on", async () => {
    await limited({ rate: 20, burst: 1 });
    await ask("/v1/runs", { key: ACME });
    await eventually(async () => expect((await ask("/v1/runs", { key: ACME })).status).toBe(200));
  });

  test("bounds its own tenant and no other", async () => {
    await limited({ rate: 0.001, burst: 1 });
    await ask("/v1/runs", { key: ACME });
    expect((await ask("/v1/runs", { key: ACME })).status).toBe(429);
    const operators = await ask("/v1/runs");
    expect([operators.status, operators.headers.has("ratelimit")]).toEqual([200, false]);
  });

  test("holds nobody any more once it is taken away, and leaves nothing in Redis once its bucket is full", async () => {
    await limited({ rate: 1_000, burst: 1 });
    await ask("/v1/runs", { key: ACME });
    await eventually(async () => expect(await redis.exists(names.bucket("acme"))).toBe(0));
    await set("acme", { rate: null });
    for (const at of [one, other])
      await eventually(async () =>
        expect((await ask("/v1/runs", { key: ACME, at })).headers.has("ratelimit")).toBe(false),
      );
  });

  test("costs a tenant that has none no round trip to Redis: what is known is not asked again for each request", async () => {
    await redis.publish(channels.access, "tenant acme"); // What is known of it is forgotten.
    const seen = await monitored();
    for (let i = 0; i < 50; i++) expect((await ask("/v1/nothing", { key: ACME })).status).toBe(404);
    await redis.ping();
    const asked = seen.filter((args) => args.includes(names.tenant("acme")));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(25);
    expect(seen.filter((args) => args.includes(names.bucket("acme")))).toEqual([]);
  });
});
