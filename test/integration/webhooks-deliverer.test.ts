// The deliverer in this process, with a real Redis and real receivers: names that lead where they should not, receivers that are slow, and
// gateways that come too late.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { keys } from "../../core/keys.ts";
import { createLog } from "../../core/log.ts";
import { connectRedis, scriptsOn } from "../../gateway/dispatch/redis.ts";
import { ALLOW_NOTHING, parseAllowList } from "../../gateway/webhooks/allow-list.ts";
import { Deliverer, MAX_A_HOST, MAX_A_TENANT, MAX_UNDER_WAY } from "../../gateway/webhooks/deliverer.ts";
import { Destinations } from "../../gateway/webhooks/destinations.ts";
import type { Resolve } from "../../gateway/webhooks/names.ts";
import type { Source } from "../../gateway/webhooks/notice.ts";
import { PAGE } from "../../gateway/webhooks/outbox-scripts.ts";
import { createWebhooks, type Webhooks } from "../../gateway/webhooks/webhooks.ts";
import { type Receiver, startReceiver } from "../helpers/receiver.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const LOOPBACK = parseAllowList("127.0.0.1") ?? ALLOW_NOTHING;
const TIMEOUT_MS = 3_000;
const ROOM = { offset: 0, max: MAX_UNDER_WAY, perHost: MAX_A_HOST, perTenant: MAX_A_TENANT };

let server: RedisServer;
let redis: Redis;
let webhooks: Webhooks;

beforeAll(async () => {
  server = await startRedis();
  redis = connectRedis(server.url);
  await redis.connect();
  webhooks = createWebhooks(scriptsOn(redis), { allow: LOOPBACK, timeoutMs: TIMEOUT_MS });
});
afterEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** Due from now on. What is told of is not a run: the outbox holds whatever has these fields. */
async function add(id: string, url: string, tenant = "acme"): Promise<string> {
  await redis.hset(keys.subject(`thing:${id}`), { webhook: new URL(url).host, tenant, url });
  await redis.pexpire(keys.subject(`thing:${id}`), 60_000);
  await redis.zadd(keys.webhooks, 1, `thing:${id}`);
  return `thing:${id}`;
}

const thing: Source = async (id) => {
  const url = await redis.hget(keys.subject(`thing:${id}`), "url");
  return url === null ? undefined : { id, url, body: JSON.stringify({ id }) };
};

interface Bent {
  readonly destinations?: Destinations;
  readonly source?: Source;
  readonly timeoutMs?: number;
}

/** Until the test's end. Answers its log, as it comes. */
function deliver(bent: Bent = {}): Record<string, unknown>[] {
  const { destinations = webhooks.destinations, source = thing, timeoutMs = TIMEOUT_MS } = bent;
  const lines: Record<string, unknown>[] = [];
  const log = createLog({}, (line) => void lines.push(JSON.parse(line)));
  const options = { ...webhooks, destinations, sources: { thing: source }, maxTries: 3, timeoutMs, log };
  const deliverer = new Deliverer(options);
  deliverer.start();
  onTestFinished(() => deliverer.close());
  return lines;
}

const attemptsOf = async (entry: string) => (await webhooks.outbox.read(entry)).attempts;
const settled = (entry: string, count = 1) =>
  vi.waitFor(
    async () => {
      const told = await webhooks.outbox.read(entry);
      expect(told.attempts.at(-1)?.ms).toBeDefined();
      expect(told.attempts).toHaveLength(count);
      return told;
    },
    { timeout: 10_000, interval: 20 },
  );

async function receive(...how: Parameters<typeof startReceiver>): Promise<Receiver> {
  const receiver = await startReceiver(...how);
  onTestFinished(() => receiver.stop());
  return receiver;
}

describe("a name", () => {
  test("that led out into the world when the run was accepted, and leads inside now, is not connected to", async () => {
    let connections = 0;
    const inner = createTcpServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(inner, "listening");
    onTestFinished(() => void inner.close());
    const answers = ["127.0.0.1", "::ffff:127.0.0.1", "::1"];
    const asked: string[] = [];
    const resolve: Resolve = async (name) => {
      asked.push(name);
      const address = answers[asked.length - 1] ?? "127.0.0.1";
      return [{ address, family: address.includes(":") ? 6 : 4 }];
    };
    const destinations = new Destinations(ALLOW_NOTHING, resolve);
    const url = `https://rebinding.example:${(inner.address() as AddressInfo).port}/`;
    destinations.admit({ url });
    const lines = deliver({ destinations });
    const entry = await add("a", url);
    expect(await settled(entry)).toMatchObject({ state: "pending", attempts: [{ fault: "address_refused" }] });
    await redis.zadd(keys.webhooks, "XX", 1, entry);
    expect(await settled(entry, 2)).toMatchObject({ state: "pending", attempts: [{}, { fault: "address_refused" }] });
    await redis.zadd(keys.webhooks, "XX", 1, entry);
    expect((await settled(entry, 3)).state).toBe("failed"); // Not for ever.
    expect(asked).toEqual(Array(3).fill("rebinding.example"));
    expect(connections).toBe(0);
    expect(lines.map(({ event }) => event)).toEqual(["webhook.failed", "webhook.failed", "webhook.given_up"]);
    expect(JSON.stringify(await attemptsOf(entry))).not.toContain("127.0.0.1");
  });

  test("is looked up once for a connection: what was looked at is what is connected to", async () => {
    const receiver = await receive();
    const asked: string[] = [];
    const resolve: Resolve = async (name) => {
      asked.push(name);
      return [{ address: "127.0.0.1", family: 4 }];
    };
    const allow = parseAllowList("hooks.internal") ?? ALLOW_NOTHING;
    deliver({ destinations: new Destinations(allow, resolve) });
    const entry = await add("a", `http://hooks.internal:${receiver.port}/`);
    expect((await settled(entry)).state).toBe("delivered");
    expect(receiver.requests[0]?.headers.host).toBe(`hooks.internal:${receiver.port}`);
    expect(asked).toEqual(["hooks.internal"]);
  });

  test("that there is not is told as such", async () => {
    const resolve: Resolve = () => Promise.reject(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }));
    deliver({ destinations: new Destinations(ALLOW_NOTHING, resolve) });
    const entry = await add("a", "https://nowhere.example/");
    expect(await settled(entry)).toMatchObject({ state: "pending", attempts: [{ fault: "name_unknown" }] });
  });

  test("that is never looked up to the end takes no longer than any other attempt", async () => {
    deliver({ destinations: new Destinations(ALLOW_NOTHING, () => new Promise(() => {})) });
    const entry = await add("a", "https://slow.example/");
    expect(await settled(entry)).toMatchObject({ state: "pending", attempts: [{ fault: "timed_out" }] });
  });
});

test("an address that the operator allows no longer is not connected to", async () => {
  const receiver = await receive();
  deliver({ destinations: new Destinations(ALLOW_NOTHING) });
  expect(await settled(await add("a", receiver.url))).toMatchObject({ attempts: [{ fault: "address_refused" }] });
  expect(receiver.requests).toEqual([]);
});

test("a host whose certificate nobody vouches for is sent nothing", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-webhook-tls-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const [key, cert] = [join(directory, "key"), join(directory, "cert")];
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const names = ["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync("openssl", [...request, "-keyout", key, "-out", cert, ...names], { stdio: "ignore" });
  let requests = 0;
  const secure = createServer({ key: await readFile(key), cert: await readFile(cert) }, () => requests++);
  secure.listen(0, "127.0.0.1");
  await once(secure, "listening");
  onTestFinished(() => void secure.close());
  deliver();
  const entry = await add("a", `https://127.0.0.1:${(secure.address() as AddressInfo).port}/`);
  expect(await settled(entry)).toMatchObject({ attempts: [{ fault: "tls_failed" }] });
  expect(requests).toBe(0);
});

test("what is not HTTP is told as such", async () => {
  const other = createTcpServer((socket) => {
    socket.once("data", () => socket.end("220 mail.example ESMTP\r\n"));
  }).listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  deliver();
  const entry = await add("a", `http://127.0.0.1:${(other.address() as AddressInfo).port}/`);
  expect(await settled(entry)).toMatchObject({ attempts: [{ fault: "answer_invalid" }] });
});

describe("a receiver that is slow", () => {
  test("has so many requests at once and no more, and others are told meanwhile", async () => {
    const answers: (() => void)[] = [];
    const slow = await receive((_, response) => void answers.push(() => response.writeHead(204).end()));
    const quick = await receive();
    await Promise.all(Array.from({ length: MAX_A_HOST + 5 }, (_, i) => add(`slow-${i}`, slow.url)));
    deliver({ timeoutMs: 60_000 });
    await slow.heard(MAX_A_HOST);
    const entry = await add("quick", quick.url);
    expect(await settled(entry)).toMatchObject({ state: "delivered" });
    expect(slow.requests).toHaveLength(MAX_A_HOST);
    slow.answer(() => 204);
    for (const answer of answers) answer();
  });

  test("has its turn again as soon as it has answered", async () => {
    const answers: (() => void)[] = [];
    const slow = await receive((_, response) => void answers.push(() => response.writeHead(204).end()));
    await Promise.all(Array.from({ length: MAX_A_HOST + 3 }, (_, i) => add(`slow-${i}`, slow.url)));
    deliver();
    await slow.heard(MAX_A_HOST);
    for (const answer of answers.splice(0)) answer();
    await slow.heard(MAX_A_HOST + 3);
    for (const answer of answers.splice(0)) answer();
    await vi.waitFor(async () => expect(await redis.zcard(keys.webhooks)).toBe(0));
  });

  test("keeps nobody waiting who stands behind more of its own than are looked at in one step", async () => {
    const answers: (() => void)[] = [];
    const slow = await receive((_, response) => void answers.push(() => response.writeHead(204).end()));
    const quick = await receive();
    // Of the same moment, so in the order of their names: more than all pages behind the first that are looked at in one go.
    await Promise.all(Array.from({ length: 30 * PAGE }, (_, i) => add(`a-slow-${i}`, slow.url)));
    const entry = await add("b-quick", quick.url);
    deliver({ timeoutMs: 60_000 });
    expect((await settled(entry)).state).toBe("delivered");
    expect(slow.requests).toHaveLength(MAX_A_HOST);
    await redis.del(keys.webhooks);
    for (const answer of answers) answer();
  });

  test("is told of as fast as it answers, however many there are", async () => {
    const busy = await receive();
    const count = 5 * PAGE;
    await Promise.all(Array.from({ length: count }, (_, i) => add(`${i}`, busy.url)));
    deliver();
    await busy.heard(count);
    await vi.waitFor(async () => expect(await redis.zcard(keys.webhooks)).toBe(0));
    expect(new Set(busy.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(count);
    expect(busy.requests).toHaveLength(count);
  });
});

describe("a claim", () => {
  test("has no more than there is room for, of all, of a host and of a tenant", async () => {
    for (let host = 1; host <= 20; host++)
      for (let i = 0; i < 5; i++) await add(`${host}-${i}`, `http://127.0.0.1:${host}/`);
    const claim = (max: number, ...busy: [string, number][]) =>
      webhooks.outbox
        .claim({ ...ROOM, max, underWay: new Map(busy) })
        .then(({ claims }) => claims.map(({ host }) => host));
    expect(await claim(3)).toHaveLength(3);
    expect(
      (await claim(64, ["host 127.0.0.1:1", MAX_A_HOST - 1])).filter((host) => host === "127.0.0.1:1"),
    ).toHaveLength(1);
    await add("again", "http://127.0.0.1:30/");
    await add("and-again", "http://127.0.0.1:31/");
    expect(await claim(64, ["tenant acme", MAX_A_TENANT])).toEqual([]);
    expect(await claim(64, ["tenant acme", MAX_A_TENANT - 1])).toHaveLength(1);
  });

  test("is one gateway's alone, until its lease is over", async () => {
    const entry = await add("a", "http://127.0.0.1:1/");
    const claim = async () => (await webhooks.outbox.claim({ ...ROOM, underWay: new Map() })).claims;
    const both = await Promise.all([claim(), claim()]);
    expect(both.flat()).toHaveLength(1);
    expect(await claim()).toEqual([]);
    await redis.zadd(keys.webhooks, "XX", 1, entry);
    expect(await claim()).toMatchObject([{ entry, attempt: 2 }]);
  });

  test("that came too late writes down what came of it, and leaves the rest to the one that has begun since", async () => {
    const entry = await add("a", "http://127.0.0.1:1/");
    const claim = async () => (await webhooks.outbox.claim({ ...ROOM, underWay: new Map() })).claims[0];
    const late = await claim();
    await redis.zadd(keys.webhooks, "XX", 1, entry);
    const present = await claim();
    if (!late || !present) throw new Error("nothing was claimed");
    expect(await webhooks.outbox.settle(late, { ms: 1, status: 500 }, { state: "failed" })).toBe(false);
    expect(await redis.zscore(keys.webhooks, entry)).not.toBeNull();
    expect(await webhooks.outbox.settle(present, { ms: 1, status: 200 }, { state: "delivered" })).toBe(true);
    expect(await webhooks.outbox.read(entry)).toMatchObject({
      state: "delivered",
      attempts: [
        { attempt: 1, status: 500 },
        { attempt: 2, status: 200 },
      ],
    });
  });

  test("has nothing of what is not kept any more", async () => {
    const entry = await add("a", "http://127.0.0.1:1/");
    await redis.del(keys.subject(entry));
    expect((await webhooks.outbox.claim({ ...ROOM, underWay: new Map() })).claims).toEqual([]);
    expect(await redis.zcard(keys.webhooks)).toBe(0);
  });
});

test("one that cannot be made anew is told in the log, and does not keep the others", async () => {
  const receiver = await receive();
  const lines = deliver({
    source: (id, tenant) => (id === "bad" ? Promise.reject(new Error("unreadable")) : thing(id, tenant)),
  });
  await add("bad", receiver.url);
  expect((await settled(await add("good", receiver.url))).state).toBe("delivered");
  expect(lines).toContainEqual(expect.objectContaining({ event: "webhook.broken", entry: "thing:bad" }));
});

test("a deliverer that is told to stop waits for what is under way, and claims no more", async () => {
  const answers: (() => void)[] = [];
  const receiver = await receive((_, response) => void answers.push(() => response.writeHead(204).end()));
  const log = createLog({}, () => {});
  const deliverer = new Deliverer({ ...webhooks, sources: { thing }, maxTries: 3, timeoutMs: TIMEOUT_MS, log });
  deliverer.start();
  const entry = await add("a", receiver.url);
  await receiver.heard(1);
  const closed = deliverer.close();
  const late = await add("b", receiver.url);
  for (const answer of answers) answer();
  await closed;
  expect((await webhooks.outbox.read(entry)).state).toBe("delivered");
  expect(await attemptsOf(late)).toEqual([]);
});
