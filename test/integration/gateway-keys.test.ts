// API keys: two gateways, one Redis, and what an operator and its tenants may do with them.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { ApiKey, KeyPage, MadeKey, NewKey } from "../../core/api-key.ts";
import { channels, keys as names } from "../../core/keys.ts";
import type { Run } from "../../core/run.ts";
import { makeKey } from "../../gateway/key-material.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const OPERATOR = "the-operators-key";
const FILE_KEYS = { keys: { filed: "a-key-of-the-file" }, operators: { ops: OPERATOR } };

let server: RedisServer;
let redis: Redis;
let one: Gateway;
let other: Gateway;

beforeAll(async () => {
  server = await startRedis({ fsync: "always" });
  redis = new Redis(server.url);
  redis.on("error", () => {}); // Some tests take its server away.
  one = await startGateway({ redisUrl: server.url, ...FILE_KEYS });
  other = await startGateway({ redisUrl: server.url, ...FILE_KEYS });
  for (const gateway of [one, other]) await ready(gateway);
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  await one.stop();
  await other.stop();
  redis.disconnect();
  await server.stop();
});

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 15_000, interval: 20 });
const ready = (gateway: Gateway) => eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));

interface Asked {
  readonly key?: string;
  readonly method?: string;
  readonly body?: unknown;
  readonly at?: Gateway;
}

function ask(path: string, { key = OPERATOR, method, body, at = one }: Asked = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  return at.fetch(path, { method: method ?? (body === undefined ? "GET" : "POST"), headers, ...sent });
}

const statusOf = async (path: string, asked: Asked) => (await ask(path, asked)).status;
const answerOf = async <T>(path: string, asked?: Asked) => (await (await ask(path, asked)).json()) as T;
const make = async (of: Partial<NewKey> = {}) => {
  const response = await ask("/v1/keys", { body: { tenant: "acme", name: "ci", scopes: ["submit", "read"], ...of } });
  expect(response.status).toBe(201);
  expect(response.headers.get("cache-control")).toBe("no-store");
  return (await response.json()) as MadeKey;
};
const list = async (query = "", asked?: Asked) => answerOf<KeyPage>(`/v1/keys${query}`, asked);

describe("a key that is made", () => {
  test("is good at every gateway at once, for its tenant and its scopes, and nobody is shown it again", async () => {
    const { key, ...told } = await make();
    expect(told).toEqual({
      id: expect.stringMatching(/^key_/),
      tenant: "acme",
      name: "ci",
      scopes: ["submit", "read"],
      createdAt: expect.stringMatching(/^20.*Z$/),
    });
    for (const at of [one, other]) {
      expect(await statusOf("/v1/runs", { key, at })).toBe(200);
      expect(await statusOf("/v1/keys", { key, at })).toBe(403);
    }
    const { keys } = await list("", { at: other });
    expect(keys.map(({ lastUsedAt: _, ...each }) => each)).toEqual([told]);
    expect(JSON.stringify(keys)).not.toContain(key);
  });

  test("may do what its scopes say: a reader submits nothing, and is told which scope that wants", async () => {
    const { key } = await make({ scopes: ["read"] });
    const response = await ask("/v1/runs", { key, body: { image: "busybox" } });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ reason: "scope_missing", detail: expect.stringContaining("submit") });
  });

  test("sees its own tenant's runs, and no other's", async () => {
    const [acme, rival] = [await make(), await make({ tenant: "rival" })];
    const { id } = await answerOf<Run>("/v1/runs", { key: acme.key, body: { image: "busybox" } });
    expect(await statusOf(`/v1/runs/${id}`, { key: acme.key })).toBe(200);
    expect(await statusOf(`/v1/runs/${id}`, { key: rival.key })).toBe(404);
    expect(await statusOf(`/v1/runs/${id}`, { key: "a-key-of-the-file" })).toBe(404);
  });

  test("with admin is an operator's: it makes keys, of any tenant", async () => {
    const { key } = await make({ scopes: ["admin"] });
    const body = { tenant: "rival", name: "x", scopes: ["read"] };
    expect(await statusOf("/v1/keys", { key, body })).toBe(201);
    expect((await list("", { key })).keys.map(({ tenant }) => tenant)).toEqual(["acme", "rival"]);
  });

  test.each([
    ["a tenant in upper case", { tenant: "Acme" }, "tenant", "is not a tenant's name"],
    ["no scope", { scopes: [] }, "scopes", "fewer than 1"],
    ["a scope there is not", { scopes: ["root"] }, "scopes.0", '"submit" or "read" or "cancel" or "admin"'],
    ["a scope twice", { scopes: ["read", "read"] }, "scopes", "twice"],
    ["no name", { name: "" }, "name", "fewer than 1"],
    ["a name that is long", { name: "n".repeat(129) }, "name", "more than 128 characters"],
    ["a name that steers terminals", { name: "\u001b[2J" }, "name", "cannot be printed"],
    ["a key for a name", { name: makeKey().key }, "name", "looks like a key"],
    ["too short a life", { expiresIn: "1s" }, "expiresIn", "is less than 1m"],
    ["too long a life", { expiresIn: "4000d" }, "expiresIn", "is more than 3650d"],
    ["a life that is no duration", { expiresIn: "soon" }, "expiresIn", "is not a duration"],
    ["an unknown field", { admin: true }, "admin", "is not a field"],
  ])("is refused with %s, by the name of the field and its limit", async (_, part, field, message) => {
    const body = { tenant: "acme", name: "ci", scopes: ["read"], ...part };
    const { errors } = await answerOf<{ errors: unknown[] }>("/v1/keys", { body });
    expect(errors).toContainEqual({ field, message: expect.stringContaining(message) });
  });
});

describe("keys", () => {
  test("are listed by tenant and id, in pages, of all or of one", async () => {
    for (const tenant of ["b", "a-1", "a", "a_2"]) for (let i = 0; i < 3; i++) await make({ tenant });
    const all = (await list()).keys;
    expect(all.map(({ tenant }) => tenant)).toEqual(
      ["a", "a-1", "a_2", "b"].flatMap((tenant) => Array(3).fill(tenant)),
    );
    const paged: ApiKey[] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page: KeyPage = await list(`?limit=5${cursor && `&cursor=${cursor}`}`);
      paged.push(...page.keys);
      cursor = page.next;
    }
    expect(paged).toEqual(all);
    expect((await list("?tenant=a")).keys).toEqual(all.slice(0, 3));
    const page = await list("?tenant=a&limit=2");
    expect((await list(`?tenant=a&limit=2&cursor=${page.next}`)).keys).toEqual(all.slice(2, 3));
    expect(await statusOf("/v1/keys?cursor=x", {})).toBe(400);
  });

  test("of one tenant are at most a hundred; those that are over make room, and the others are named as the limit", async () => {
    for (let i = 0; i < 98; i++) await make();
    const [over, also] = [await make(), await make()];
    const response = await ask("/v1/keys", { body: { tenant: "acme", name: "one more", scopes: ["read"] } });
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ reason: "too_many_keys", detail: expect.stringContaining("100") });
    await make({ tenant: "rival" });
    for (const { id } of [over, also]) await redis.hset(names.apiKey(id), "expiresAt", Date.now() - 1);
    await make();
    const ids = (await list("?tenant=acme&limit=500")).keys.map(({ id }) => id);
    expect(ids).toHaveLength(99);
    expect(ids).not.toContain(over.id);
  });

  test("say when they were last used, and many requests at both gateways write that once", async () => {
    const { id, key } = await make();
    expect((await list()).keys[0]?.lastUsedAt).toBeUndefined();
    const seen = await monitored();
    await Promise.all(Array.from({ length: 20 }, (_, i) => ask("/v1/runs", { key, at: i % 2 === 0 ? one : other })));
    await eventually(async () => expect((await list()).keys[0]?.lastUsedAt).toMatch(/Z$/));
    await redis.ping();
    expect(
      seen.filter(
        ([name, of, field]) => /hset/i.test(String(name)) && of === names.apiKey(id) && field === "lastUsedAt",
      ),
    ).toHaveLength(1);
  });
});

/** Every command that Redis carries out from now on, those of scripts too. */
async function monitored(): Promise<string[][]> {
  const seen: string[][] = [];
  const monitor = await redis.monitor();
  monitor.on("monitor", (_time: string, args: string[]) => seen.push(args));
  onTestFinished(() => monitor.disconnect());
  return seen;
}

describe("a key that is over", () => {
  test("is refused at every gateway, also where it was let in before, and its list says since when", async () => {
    const { id, key, expiresAt } = await make({ expiresIn: "1h" });
    expect(Date.parse(String(expiresAt))).toBeGreaterThan(Date.now() + 3_000_000);
    for (const at of [one, other]) expect(await statusOf("/v1/runs", { key, at })).toBe(200);
    await redis.hset(names.apiKey(id), "expiresAt", Date.now() + 200);
    for (const at of [one, other])
      await eventually(async () => expect(await statusOf("/v1/runs", { key, at })).toBe(401));
    expect((await list()).keys[0]?.id).toBe(id);
  });

  test("cannot be rotated into life", async () => {
    const { id } = await make({ expiresIn: "1h" });
    await redis.hset(names.apiKey(id), "expiresAt", Date.now() - 1);
    const response = await ask(`/v1/keys/${id}/rotate`, { body: {} });
    expect([response.status, await response.json()]).toEqual([409, expect.objectContaining({ reason: "key_expired" })]);
  });
});

describe("a key that is revoked", () => {
  test("is refused by every gateway, and gone from the list", async () => {
    const { id, key } = await make();
    for (const at of [one, other]) expect(await statusOf("/v1/runs", { key, at })).toBe(200);
    expect(await statusOf(`/v1/keys/${id}`, { method: "DELETE" })).toBe(204);
    for (const at of [one, other])
      await eventually(async () => expect(await statusOf("/v1/runs", { key, at })).toBe(401));
    expect((await list()).keys).toEqual([]);
    expect(await statusOf(`/v1/keys/${id}`, { method: "DELETE" })).toBe(404);
    expect(await statusOf(`/v1/keys/${id}/rotate`, { body: {} })).toBe(404);
  });

  test("is refused also where its announcement is lost", async () => {
    const { id, key } = await make();
    expect(await statusOf("/v1/runs", { key })).toBe(200);
    await redis.del(names.apiKey(id)); // As `revoke` does, but told to nobody.
    await eventually(async () => expect(await statusOf("/v1/runs", { key })).toBe(401));
  });

  test("does not come back because it was used", async () => {
    const { id, key } = await make();
    await Promise.all([ask("/v1/runs", { key }), ask(`/v1/keys/${id}`, { method: "DELETE" })]);
    await eventually(async () => expect(await statusOf("/v1/runs", { key })).toBe(401));
    expect(await redis.exists(names.apiKey(id))).toBe(0);
  });
});

describe("a key that is rotated", () => {
  const rotate = (id: string, body: object) => answerOf<MadeKey>(`/v1/keys/${id}/rotate`, { body });

  test("is another of the same id and rights, with a day in which both are good", async () => {
    const { key: before, ...told } = await make();
    const { key: after, rotatedAt, previousUntil, ...now } = await rotate(told.id, {});
    expect(now).toEqual(told);
    expect(after).not.toBe(before);
    expect(Date.parse(String(previousUntil)) - Date.parse(String(rotatedAt))).toBe(86_400_000);
    for (const at of [one, other])
      for (const key of [before, after])
        await eventually(async () => expect(await statusOf("/v1/runs", { key, at })).toBe(200));
  });

  test("leaves none good but the new one if there is no overlap", async () => {
    const { id, key: before } = await make();
    for (const at of [one, other]) expect(await statusOf("/v1/runs", { key: before, at })).toBe(200);
    const { key: after, previousUntil } = await rotate(id, { overlap: "0s" });
    expect(previousUntil).toBeUndefined();
    for (const at of [one, other]) {
      await eventually(async () => expect(await statusOf("/v1/runs", { key: before, at })).toBe(401));
      expect(await statusOf("/v1/runs", { key: after, at })).toBe(200);
    }
  });

  test("drops the one before the last at the second rotation, and the last when its overlap is over", async () => {
    const { id, key: first } = await make();
    const { key: second } = await rotate(id, {});
    const { key: third } = await rotate(id, {});
    await eventually(async () => expect(await statusOf("/v1/runs", { key: first })).toBe(401));
    expect(await statusOf("/v1/runs", { key: second })).toBe(200);
    await redis.hset(names.apiKey(id), "previousUntil", Date.now() - 1);
    await eventually(async () => expect(await statusOf("/v1/runs", { key: second })).toBe(401));
    expect(await statusOf("/v1/runs", { key: third })).toBe(200);
  });

  test("is refused an overlap of more than thirty days", async () => {
    const { id } = await make();
    const { errors } = await answerOf<{ errors: unknown }>(`/v1/keys/${id}/rotate`, { body: { overlap: "31d" } });
    expect(errors).toEqual([{ field: "overlap", message: "is more than 30d" }]);
  });
});

test("a stranger learns nothing: whatever is wrong with a key, it is told alike", async () => {
  const { id, key } = await make();
  const revoked = await make();
  await ask(`/v1/keys/${revoked.id}`, { method: "DELETE" });
  const guesses = [makeKey(id).key, makeKey().key, revoked.key, "guess", `${key}0`, `mayfly_${id.slice(4)}_`];
  const answers = await Promise.all(guesses.map((guess) => answerOf("/v1/runs", { key: guess })));
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(answers[0]).toMatchObject({ status: 401, reason: "key_unknown" });
});

test("a gateway without a file of keys is open on loopback as ever, whatever keys Redis has", async () => {
  await make();
  const open = await startGateway({ redisUrl: server.url });
  onTestFinished(() => void open.stop("SIGKILL"));
  await ready(open);
  expect((await open.fetch("/v1/runs")).status).toBe(200);
  expect(((await (await open.fetch("/v1/keys")).json()) as KeyPage).keys).toHaveLength(1);
});

test("while Redis is away nobody is let in by a key of Redis', nor told that it is unknown: 503, and good again after", async () => {
  const { key } = await make();
  expect(await statusOf("/v1/runs", { key, at: one })).toBe(200); // And never at the other.
  await server.halt();
  for (let i = 0; i < 5; i++) {
    for (const at of [one, other]) {
      const response = await ask("/v1/runs", { key, at });
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
      expect(await response.json()).toMatchObject({ reason: "queue_unavailable" });
    }
  }
  await server.resume();
  for (const at of [one, other]) await ready(at);
  for (const at of [one, other]) expect(await statusOf("/v1/runs", { key, at })).toBe(200);
});

test("neither Redis, nor what it was ever told, nor a log, nor an error has a key in it", async () => {
  const seen = await monitored();
  const made = [await make(), await make({ scopes: ["admin"] })];
  const rotated = await answerOf<MadeKey>(`/v1/keys/${made[0]?.id}/rotate`, { body: {} });
  const keys = [...made, rotated].map(({ key }) => key);
  const answers: string[] = [];
  for (const key of keys) {
    for (const at of [one, other]) await ask("/v1/runs", { key, at });
    for (const asked of [
      await ask(`/v1/keys/${key}`, { method: "DELETE" }),
      await ask(`/v1/keys/${key}/rotate`, { body: {} }),
      await ask(`/v1/nothing/${key}`),
      await ask(`/v1/keys?cursor=${key}`),
      await ask("/v1/keys", { body: { tenant: key, name: key, scopes: [key] } }),
      await ask("/v1/runs", { key: `${key}x` }),
    ]) {
      expect(asked.status).toBeGreaterThanOrEqual(400);
      answers.push(await asked.text());
    }
    await list();
  }
  await redis.ping();
  const [, directory = ""] = (await redis.config("GET", "dir")) as string[];
  const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
  const appended = await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name), "latin1")));
  const told = {
    seen: JSON.stringify(seen),
    appended: appended.join(),
    logs: JSON.stringify([one.log, other.log]),
    answers: answers.join(),
  };
  expect(told.seen).toContain(names.apiKey(String(made[0]?.id)));
  expect(told.appended).toContain(names.apiKey(String(made[0]?.id)));
  expect(told.logs).toContain(String(made[0]?.id));
  for (const [where, text] of Object.entries(told))
    for (const key of keys) expect(text.includes(key.slice(-39, -7)), where).toBe(false);
});

test("an announcement names what has changed, and nothing else", async () => {
  const subscriber = redis.duplicate();
  onTestFinished(() => subscriber.disconnect());
  const heard: string[] = [];
  subscriber.on("message", (_channel, message) => heard.push(message));
  await subscriber.subscribe(channels.access);
  const { id } = await make();
  await ask(`/v1/keys/${id}/rotate`, { body: {} });
  await ask(`/v1/keys/${id}`, { method: "DELETE" });
  await eventually(async () => expect(heard).toEqual([`key ${id}`, `key ${id}`]));
});
