// Hosts that give blobs to each other: real Redis, real image services, and a registry that is counted.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ClusterSecret } from "../../core/host-token.ts";
import { keys } from "../../core/keys.ts";
import { SILENT } from "../../core/log.ts";
import { ClusterPeers, type PeerLimits } from "../../worker/images/peers.ts";
import { connectOptional, connectRedis } from "../../worker/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { digestOf } from "../helpers/fake-image-admin.ts";
import { type ImageHost, publishHost, startImageHost } from "../helpers/image-host.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

type Digest = `sha256:${string}`;

let server: RedisServer;
let redis: Redis;

const BYTES = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251));
const DIGEST = digestOf(BYTES) as Digest;
const HEX = DIGEST.slice("sha256:".length);
const NEVER = new AbortController().signal;

/** Short where a test waits for it to pass, and still many renewals long; the others are not reached. */
const LIMITS: Partial<PeerLimits> = { turnMs: 2_000, renewMs: 50, pollMs: 10 };

/** A host with what the runtime does of it: what comes is verified, kept, and told of. */
class Host {
  readonly peers: ClusterPeers;
  readonly optional: Redis;
  readonly image: ImageHost;
  /** How often it asked the registry. */
  asked = 0;

  constructor(image: ImageHost, limits: Partial<PeerLimits> = {}) {
    this.image = image;
    this.optional = connectOptional(connectRedis(server.url));
    this.optional.on("error", () => {});
    const secret = new ClusterSecret(this.optional);
    this.peers = new ClusterPeers({
      ...{ redis: this.optional, hostId: image.id, secret, log: SILENT, limits: { ...LIMITS, ...limits } },
    });
  }

  readonly fromRegistry = async () => {
    this.asked++;
    return registry();
  };

  async read(fromRegistry = this.fromRegistry, signal = NEVER): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await this.peers.open(DIGEST, signal, fromRegistry)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** As a runtime does: whatever is wrong is tried once more. */
  async get(fromRegistry = this.fromRegistry): Promise<void> {
    const first = await this.read(fromRegistry).catch(() => Buffer.alloc(0));
    const bytes = sha256(first) === HEX ? first : await this.read(fromRegistry);
    expect(sha256(bytes)).toBe(HEX);
    await this.image.images.addBlob(bytes);
    await this.peers.gained([DIGEST]);
  }

  async stop(): Promise<void> {
    await this.peers.close();
    this.optional.disconnect();
    await this.image.stop();
  }
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function* registry(): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < BYTES.length; at += 10_000) {
    await new Promise((resolve) => setImmediate(resolve));
    yield BYTES.subarray(at, at + 10_000);
  }
}

let hosts: Host[] = [];

async function startHost(id: string, limits: Partial<PeerLimits> = {}): Promise<Host> {
  const host = new Host(await startImageHost(redis, id), limits);
  await host.optional.connect();
  hosts.push(host);
  return host;
}

const startHosts = () => Promise.all(["a", "b", "c"].map((id) => startHost(id))) as Promise<[Host, Host, Host]>;
const askedInAll = () => hosts.reduce((sum, { asked }) => sum + asked, 0);

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  redis.on("error", () => {});
});

beforeEach(() => {
  hosts = [];
});

afterEach(async () => {
  await Promise.all(hosts.map((host) => host.stop()));
  await redis.flushall();
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

describe("a blob that no host has", () => {
  test("is fetched from the registry once, however many hosts want it at the same time", async () => {
    const all = await startHosts();
    await Promise.all(all.map((host) => host.get()));
    expect(askedInAll()).toBe(1);
    expect(await redis.exists(keys.fetch(HEX))).toBe(0);
    expect((await redis.zrange(keys.blob(HEX), "0", "-1")).toSorted()).toEqual(["a", "b", "c"]);
  });

  test("is not asked for again while the host that has fetched it still stores it", async () => {
    const [a, b] = await startHosts();
    const bytes = await a.read();
    const other = b.get();
    await eventually(async () => expect(await redis.pttl(keys.fetch(HEX))).toBeGreaterThan(0));
    await a.image.images.addBlob(bytes);
    await a.peers.gained([DIGEST]);
    await other;
    expect([a.asked, b.asked]).toEqual([1, 0]);
  });

  test("is fetched by another host if the one that fetches it dies in the middle", async () => {
    const [a, b] = await startHosts();
    const begun = Promise.withResolvers<void>();
    const dying = a.peers.open(DIGEST, NEVER, async () =>
      (async function* () {
        yield BYTES.subarray(0, 10);
        begun.resolve();
        await new Promise(() => {}); // It never comes back, and renews nothing more.
      })(),
    );
    const reader = (await dying)[Symbol.asyncIterator]();
    await reader.next();
    void reader.next();
    await begun.promise;
    const other = b.get();
    a.optional.disconnect();
    await other;
    expect(b.asked).toBe(1);
  });

  test("is fetched by another host at once if the registry fails the first, or its reader leaves", async () => {
    const [a, b] = await startHosts();
    await expect(a.read(() => Promise.reject(new Error("the registry is away")))).rejects.toThrow("away");
    expect(await redis.exists(keys.fetch(HEX))).toBe(0);
    for await (const _ of await a.peers.open(DIGEST, NEVER, a.fromRegistry)) break;
    expect(await redis.exists(keys.fetch(HEX))).toBe(0);
    await b.get();
    expect(b.asked).toBe(1);
  });

  test.each(["the registry begins to answer", "its bytes come"])(
    "keeps its turn until %s, however long that takes",
    async (what) => {
      const [a, b] = await startHosts();
      const gate = Promise.withResolvers<void>();
      const slow = a.get(async () => {
        a.asked++;
        if (what !== "its bytes come") await gate.promise;
        return (async function* () {
          yield BYTES.subarray(0, 10);
          await gate.promise;
          yield BYTES.subarray(10);
        })();
      });
      await eventually(async () => expect(await redis.exists(keys.fetch(HEX))).toBe(1));
      const token = await redis.get(keys.fetch(HEX));
      const other = b.get();
      // Renewed twice: seen from outside as a time to live that has grown.
      for (let renewed = 0, before = Number.POSITIVE_INFINITY; renewed < 2; ) {
        const left = await redis.pttl(keys.fetch(HEX));
        if (left > before) renewed++;
        before = left;
        expect(await redis.get(keys.fetch(HEX))).toBe(token);
      }
      gate.resolve();
      await Promise.all([slow, other]);
      expect([a.asked, b.asked]).toEqual([1, 0]);
    },
  );

  test("is asked of the registry by who has waited for others as long as it may", async () => {
    const [a] = await startHosts();
    const hasty = await startHost("hasty", { waitMs: 50 });
    await redis.set(keys.fetch(HEX), "somebody else");
    await hasty.get();
    expect([hasty.asked, await redis.get(keys.fetch(HEX))]).toEqual([1, "somebody else"]);
    expect(a.asked).toBe(0);
  });

  test("is not waited for by who does not want it any more", async () => {
    const [a] = await startHosts();
    await redis.set(keys.fetch(HEX), "somebody else");
    const controller = new AbortController();
    const reading = a.read(a.fromRegistry, controller.signal);
    controller.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
    expect(a.asked).toBe(0);
  });
});

describe("a host that has a blob", () => {
  test("gives it, and the registry is not asked", async () => {
    const [a, b] = await startHosts();
    await a.get();
    expect(await b.read()).toEqual(BYTES);
    expect(b.asked).toBe(0);
  });

  test("and gives other bytes is not asked again: the next reader's are right", async () => {
    const [a, b, c] = await startHosts();
    await a.image.images.addBlob(Buffer.from("a lie"), DIGEST);
    await a.peers.gained([DIGEST]);
    await b.get();
    expect([a.asked, b.asked]).toEqual([0, 1]);
    await c.get(); // Of two that say they have it one lies; which is asked first is chance.
    expect(c.asked).toBe(0);
  });

  test("and breaks off in the middle is a failure, and the rest comes from elsewhere the next time", async () => {
    const [a, b] = await startHosts();
    await a.image.images.addBlob(Buffer.alloc(50_000_000), DIGEST);
    await a.peers.gained([DIGEST]);
    const reader = (await b.peers.open(DIGEST, NEVER, b.fromRegistry))[Symbol.asyncIterator]();
    await reader.next();
    void a.image.service.close();
    const rest = async () => {
      for (let next = await reader.next(); !next.done; ) next = await reader.next();
    };
    const failure = { reason: "registry_unavailable", details: { peer: "a" } };
    await expect(rest()).rejects.toThrow(expect.objectContaining(failure));
    await b.get();
    expect(b.asked).toBe(1);
  });

  test("and has lost it, without a word or with one, is passed over", async () => {
    const [a, b, c] = await startHosts();
    await a.get();
    a.image.images.forgetBlob(DIGEST);
    await b.get();
    expect(b.asked).toBe(1);
    await b.peers.lost([DIGEST]);
    await a.peers.lost([DIGEST]);
    expect(await redis.zcard(keys.blob(HEX))).toBe(0);
    await c.get();
    expect(c.asked).toBe(1);
  });

  test("is not asked once its record is gone, nor is an address that no record tells", async () => {
    const [a, b] = await startHosts();
    await a.get();
    await redis.del(keys.host("a"));
    await b.get();
    expect(b.asked).toBe(1);
  });

  /** A host that says that it has the blob, and answers as it likes. */
  async function startLiar(answer: RequestListener): Promise<{ seen: string[]; stop: () => Promise<void> }> {
    const seen: string[] = [];
    const liar = createServer((request, response) => {
      seen.push(request.url ?? "");
      answer(request, response);
    });
    await new Promise<void>((resolve) => liar.listen(0, "127.0.0.1", resolve));
    const { port } = liar.address() as AddressInfo;
    await publishHost(redis, { id: "liar", imagesUrl: `http://127.0.0.1:${port}` });
    await redis.zadd(keys.blob(HEX), Date.now() + 60_000, "liar");
    const stop = async () => {
      const closed = once(liar, "close");
      liar.close();
      liar.closeAllConnections();
      await closed;
    };
    return { seen, stop };
  }

  test("is not followed elsewhere", async () => {
    const [a, b] = await startHosts();
    const liar = await startLiar((_, response) => {
      response.writeHead(302, { location: `${a.image.service.url}/blobs/${DIGEST}` }).end();
    });
    await b.get();
    expect([liar.seen.length, b.asked]).toEqual([1, 1]);
    await liar.stop();
  });

  test("and gives it drop by drop is left for the registry", async () => {
    const hasty = await startHost("hasty", { rateWindowMs: 50 });
    const liar = await startLiar((_, response) => {
      const drops = setInterval(() => response.write("."), 5);
      response.once("close", () => clearInterval(drops));
    });
    await hasty.get();
    expect([liar.seen.length, hasty.asked]).toEqual([1, 1]);
    await liar.stop();
  });

  test("and is asked for more than it can give at once keeps nobody waiting in line", async () => {
    const hasty = await startHost("hasty", { answerMs: 200 });
    const liar = await startLiar(() => {});
    const digests = Array.from({ length: 70 }, (_, i) => digestOf(`blob ${i}`) as Digest);
    for (const digest of digests)
      await redis.zadd(keys.blob(digest.slice("sha256:".length)), Date.now() + 60_000, "liar");
    const reading = digests.map(async (digest) => {
      for await (const _ of await hasty.peers.open(digest, NEVER, hasty.fromRegistry)) return;
    });
    await Promise.all(reading);
    expect(hasty.asked).toBe(digests.length);
    await liar.stop();
  });

  test("is forgotten after a while unless it says so again", async () => {
    const [a, b] = await startHosts();
    await a.get();
    const ttl = await redis.pttl(keys.blob(HEX));
    expect(ttl).toBeGreaterThan(500_000);
    await redis.zadd(keys.blob(HEX), Date.now() - 1_000, "a");
    await b.get();
    expect(b.asked).toBe(1);
  });
});

test("without Redis every host asks the registry, and none waits", async () => {
  const [a, b] = await startHosts();
  for (const { optional } of [a, b]) optional.disconnect();
  expect(await a.read()).toEqual(BYTES);
  expect(await b.read()).toEqual(BYTES);
  await a.peers.gained([DIGEST]);
  await a.peers.lost([DIGEST]);
  expect(askedInAll()).toBe(2);
});
