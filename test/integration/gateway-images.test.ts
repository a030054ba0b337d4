// /v1/images of a real gateway, with hosts that are real image services of images that are only told of.

import { createServer, type Server } from "node:net";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import { eventually } from "../helpers/eventually.ts";
import { digestOf } from "../helpers/fake-image-admin.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type ImageHost, publishHost, startImageHost } from "../helpers/image-host.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let a: ImageHost;
let b: ImageHost;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({
    redisUrl: server.url,
    env: { MAYFLY_MAX_ARCHIVE_BYTES: "1MiB", MAYFLY_MAX_BODY: "16KiB" },
  });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});

beforeEach(async () => {
  a = await startImageHost(redis, "a");
  b = await startImageHost(redis, "b", { record: { running: 5 } });
});

afterEach(async () => {
  await a.stop();
  await b.stop();
});

afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

type Answer = Record<string, unknown> & { hosts: { host: string; error?: { reason: string } }[] };
const get = async (path: string) => (await (await gateway.fetch(path)).json()) as Answer;
const post = (path: string, body: unknown) =>
  gateway.fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

async function events(response: Response): Promise<[string, Record<string, unknown>][]> {
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const text = await response.text();
  return [...text.matchAll(/^event: (.*)\ndata: (.*)$/gm)].map(([, name = "", data = ""]) => [name, JSON.parse(data)]);
}

/** A host that takes connections and never says a word. */
async function silentHost(id: string): Promise<Server> {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as { port: number };
  await publishHost(redis, { id, imagesUrl: `http://127.0.0.1:${port}` });
  return silent;
}

const forget = (id: string) => redis.multi().del(keys.host(id)).zrem(keys.hosts, id).exec();

describe("what hosts have", () => {
  test("is listed host by host", async () => {
    const image = a.images.add("busybox:1");
    expect(await get("/v1/images")).toEqual({
      hosts: [
        { host: "a", images: [image] },
        { host: "b", images: [] },
      ],
    });
    expect(await get("/v1/images?host=b")).toEqual({ hosts: [{ host: "b", images: [] }] });
    expect(await get("/v1/images/usage")).toMatchObject({
      hosts: [
        { host: "a", usage: { images: 1 } },
        { host: "b", usage: { images: 0 } },
      ],
    });
    expect(await get("/v1/images/inspect?reference=busybox:1")).toMatchObject({
      hosts: [
        { host: "a", image: { references: ["busybox:1"], config: { command: ["sh"] } } },
        { host: "b", error: { code: "not_found", reason: "image_not_present" } },
      ],
    });
  });

  test("is told of the others if one does not answer, is gone, or tells no address", async () => {
    const silent = await silentHost("silent");
    await publishHost(redis, { id: "gone", imagesUrl: "http://127.0.0.1:1" });
    await publishHost(redis, { id: "old" });
    const { hosts } = await get("/v1/images");
    expect(hosts.map(({ host }) => host)).toEqual(["a", "b", "gone", "old", "silent"]);
    expect(hosts.slice(0, 2)).toEqual([
      { host: "a", images: [] },
      { host: "b", images: [] },
    ]);
    for (const { error } of hosts.slice(2))
      expect(error).toMatchObject({ code: "unavailable", reason: "host_unavailable" });
    for (const id of ["gone", "old", "silent"]) await forget(id);
    silent.close();
  });

  test("is told of a host whose images cannot be read, without what the fault is", async () => {
    b.images.failure = new Error("secret");
    const { hosts } = await get("/v1/images");
    expect(hosts[0]).toEqual({ host: "a", images: [] });
    expect(hosts[1]?.error?.reason).toBe("bug");
    expect(JSON.stringify(hosts)).not.toContain("secret");
  });

  test("is asked of a host that lives, by its name", async () => {
    const response = await gateway.fetch("/v1/images?host=nobody");
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ reason: "host_not_found" });
    expect((await post("/v1/images/prune", { hosts: ["a", "nobody"] })).status).toBe(404);
    expect(a.images.calls).toEqual([]);
  });

  test("is what the hosts' own records tell of", async () => {
    const { hosts } = await get("/v1/hosts");
    expect(hosts).toMatchObject([
      { id: "a", imagesUrl: a.service.url },
      { id: "b", running: 5 },
    ]);
  });

  test("is still told after Redis has been emptied and the secret is another", async () => {
    expect(await get("/v1/images?host=a")).toMatchObject({ hosts: [{ images: [] }] });
    await redis.del(keys.secret);
    const c = await startImageHost(redis, "c");
    await eventually(async () =>
      expect(await get("/v1/images")).toMatchObject({ hosts: [{ images: [] }, { images: [] }, { images: [] }] }),
    );
    await c.stop();
  });
});

describe("what is done to them", () => {
  test("is done on each host, or on those named", async () => {
    for (const host of [a, b]) host.images.add("busybox:1");
    expect(await (await post("/v1/images/pin", { reference: "busybox:1", hosts: ["a"] })).json()).toEqual({
      hosts: [{ host: "a", pinned: true }],
    });
    const removed = await gateway.fetch("/v1/images?reference=busybox:1", { method: "DELETE" });
    expect(removed.status).toBe(200);
    expect(await removed.json()).toMatchObject({
      hosts: [
        { host: "a", error: { code: "failed_precondition", reason: "image_in_use" } },
        { host: "b", reclaimed: { references: ["busybox:1"] } },
      ],
    });
    expect(await (await post("/v1/images/pin", { reference: "busybox:1", pinned: false })).json()).toMatchObject({
      hosts: [{ pinned: false }, { error: { reason: "image_not_present" } }],
    });
    expect(await (await post("/v1/images/prune", { unusedFor: "1h30m" })).json()).toMatchObject({
      hosts: [{ reclaimed: { references: ["busybox:1"] } }, { reclaimed: { references: [] } }],
    });
    expect(a.images.calls.at(-1)).toBe(`prune ${90 * 60_000}`);
  });

  test.each([
    ["/v1/images/pin", {}, "reference"],
    ["/v1/images/pin", { reference: "" }, "reference"],
    ["/v1/images/pin", { reference: "a", hosts: [] }, "hosts"],
    ["/v1/images/pull", { reference: "a", pull: "sometimes" }, "pull"],
    ["/v1/images/pull", { reference: "a".repeat(513) }, "reference"],
    ["/v1/images/prune", { unusedFor: "a week" }, "unusedFor"],
    ["/v1/images/verify", { fix: true }, "fix"],
  ])("%s of %j is refused, and names %s", async (path, body, field) => {
    const response = await post(path, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ field }] });
  });

  test("is not done for a body that is not JSON by its own word", async () => {
    for (const path of ["pull", "pin", "prune", "verify"]) {
      expect((await gateway.fetch(`/v1/images/${path}`, { method: "POST", body: "{}" })).status).toBe(415);
    }
  });

  test("is a check of what they have, told host by host", async () => {
    b.images.failure = new MayflyError("image_corrupt", "a layer is not right");
    const told = await events(await post("/v1/images/verify", { repair: true }));
    expect(told[0]).toEqual(["hosts", { hosts: ["a", "b"] }]);
    expect(told).toContainEqual(["host", { host: "a", verified: { layers: 1, blobs: 2, faults: [] } }]);
    expect(told).toContainEqual(["host", expect.objectContaining({ host: "b", error: expect.anything() })]);
    expect(told.at(-1)).toEqual(["end", {}]);
    expect(a.images.calls).toEqual(["verify all true"]);
  });
});

test("work of any length is given up for a host that has gone meanwhile, without a word", async () => {
  const silent = await silentHost("silent");
  const response = await post("/v1/images/verify", { hosts: ["a", "silent"] });
  const told = events(response);
  await eventually(() => expect(a.images.calls).toEqual(["verify all false"]));
  await forget("silent");
  expect(await told).toEqual([
    ["hosts", { hosts: ["a", "silent"] }],
    ["host", expect.objectContaining({ host: "a", verified: expect.anything() })],
    ["host", { host: "silent", error: expect.objectContaining({ reason: "host_unavailable" }) }],
    ["end", {}],
  ]);
  silent.close();
});

describe("a pull", () => {
  const layer = { digest: digestOf("l") as `sha256:${string}`, state: "done", bytes: 9, size: 9 } as const;

  test("is done by every host, and told of each", async () => {
    for (const host of [a, b]) host.images.pulls.set("busybox", async (_, tell) => tell(layer));
    const told = await events(await post("/v1/images/pull", { reference: "busybox", pull: "always" }));
    expect(told[0]).toEqual(["hosts", { hosts: ["a", "b"] }]);
    for (const host of ["a", "b"]) {
      expect(told).toContainEqual(["layer", { host, kind: "layer", ...layer }]);
      expect(told).toContainEqual(["ready", expect.objectContaining({ host, reference: "busybox", layers: 1 })]);
    }
    expect(told.at(-1)).toEqual(["end", {}]);
    expect(a.images.calls).toEqual(["pull busybox always"]);
  });

  test("that fails on one host, or breaks off there, is whole on the other", async () => {
    a.images.pulls.set("busybox", () => Promise.reject(new MayflyError("image_not_found", "there is none")));
    expect(await events(await post("/v1/images/pull", { reference: "busybox" }))).toEqual(
      expect.arrayContaining([
        ["failed", { host: "a", kind: "failed", reason: "image_not_found", message: "there is none" }],
        ["ready", expect.objectContaining({ host: "b" })],
        ["end", {}],
      ]),
    );
    a.images.pulls.set("busybox", async (_, tell) => {
      tell(layer);
      void a.service.close();
      await new Promise(() => {});
    });
    expect(await events(await post("/v1/images/pull", { reference: "busybox" }))).toEqual(
      expect.arrayContaining([
        ["failed", expect.objectContaining({ host: "a", reason: "host_unavailable" })],
        ["ready", expect.objectContaining({ host: "b" })],
        ["end", {}],
      ]),
    );
  });

  test("ends on the hosts when its caller goes away", async () => {
    const ended = Promise.withResolvers<void>();
    a.images.pulls.set("busybox", (signal, tell) => {
      tell(layer);
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          ended.resolve();
          reject(signal.reason);
        });
      });
    });
    const controller = new AbortController();
    const response = await gateway.fetch("/v1/images/pull", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ reference: "busybox", hosts: ["a"] }),
      signal: controller.signal,
    });
    await response.body?.getReader().read();
    controller.abort();
    await ended.promise;
  });

  test("on a host that is gone, or does not answer, is told as that host's failure", async () => {
    await publishHost(redis, { id: "gone", imagesUrl: "http://127.0.0.1:1" });
    const silent = await silentHost("silent");
    const told = await events(await post("/v1/images/pull", { reference: "busybox", hosts: ["gone", "silent"] }));
    expect(told).toEqual([
      ["hosts", { hosts: ["gone", "silent"] }],
      ["failed", expect.objectContaining({ host: "gone", reason: "host_unavailable" })],
      ["failed", expect.objectContaining({ host: "silent", reason: "host_unavailable" })],
      ["end", {}],
    ]);
    for (const id of ["gone", "silent"]) await forget(id);
    silent.close();
  });
});

describe("an archive", () => {
  const load = (body: string | ReadableStream, query = "") =>
    gateway.fetch(`/v1/images/load${query}`, { method: "POST", body, duplex: "half" } as RequestInit);

  test("is loaded by the host that has the fewest runs, or by the one named", async () => {
    expect(await events(await load("x:1\ny:2\n"))).toEqual([
      ["hosts", { hosts: ["a"] }],
      ["host", { host: "a", references: ["x:1", "y:2"] }],
      ["end", {}],
    ]);
    expect(await events(await load("x:1\n", "?host=b"))).toContainEqual(["host", { host: "b", references: ["x:1"] }]);
    expect(b.images.held.has("x:1")).toBe(true);
  });

  test("is not sent to a host that cannot be asked, though it has the fewest runs", async () => {
    await publishHost(redis, { id: "0-old" });
    expect(await events(await load("x:1\n"))).toContainEqual(["host", { host: "a", references: ["x:1"] }]);
    await forget("0-old");
  });

  test("is given on to all the others, if that is wanted", async () => {
    expect(await events(await load("x:1\ny:2\n", "?all=true"))).toEqual([
      ["hosts", { hosts: ["a", "b"] }],
      ["host", { host: "a", references: ["x:1", "y:2"] }],
      ["host", { host: "b", references: ["x:1", "y:2"] }],
      ["end", {}],
    ]);
    expect(b.images.held.has("y:2")).toBe(true);
  });

  test("may be larger than any other body, and is not larger than its own limit", async () => {
    const reference = `${"x".repeat(500)}\n`;
    expect(await events(await load(reference.repeat(200)))).toHaveLength(3);
    const declared = await load(reference.repeat(3000));
    expect(declared.status).toBe(413);
    const chunks = ReadableStream.from(Array.from({ length: 3000 }, () => Buffer.from(reference)));
    const told = await events(await load(chunks));
    expect(told[1]).toEqual([
      "host",
      expect.objectContaining({ error: expect.objectContaining({ reason: "body_too_large" }) }),
    ]);
    expect(told[2]).toEqual(["end", {}]);
  });

  test("comes from a host that has all of the images", async () => {
    for (const reference of ["x:1", "y:2"]) b.images.add(reference);
    a.images.add("x:1");
    const saved = await gateway.fetch("/v1/images/save?reference=x:1&reference=y:2&format=docker");
    expect([saved.status, saved.headers.get("content-type")]).toEqual([200, "application/x-tar"]);
    expect(await saved.text()).toBe("x:1\ny:2\n");
    expect(b.images.calls).toEqual(["save x:1,y:2 docker"]);
  });

  test("is not read for HEAD, by however many: the hosts are let go of, and there is room for others", async () => {
    a.images.add("x:1");
    let open = 0;
    a.images.images.save = async () =>
      (async function* () {
        open++;
        try {
          for (;;) yield Buffer.alloc(65_536);
        } finally {
          open--;
        }
      })();
    for (let i = 0; i < 65; i++) {
      const head = await gateway.fetch("/v1/images/save?reference=x:1", { method: "HEAD" });
      expect([head.status, head.headers.get("content-type")]).toEqual([200, "application/x-tar"]);
    }
    await eventually(() => expect(open).toBe(0));
    expect((await gateway.fetch("/healthz")).status).toBe(200);
  });

  test("that a host cannot be given is left alone by the host that has it", async () => {
    let open = 0;
    const save = a.images.images.save;
    a.images.images.save = async (...args) => {
      const bytes = await save(...args);
      return (async function* () {
        open++;
        try {
          yield* bytes;
          for (;;) yield Buffer.alloc(65_536);
        } finally {
          open--;
        }
      })();
    };
    await b.stop();
    await publishHost(redis, { id: "c" });
    const told = await events(await load("x:1\n", "?all=true&host=a"));
    expect(told).toContainEqual([
      "host",
      expect.objectContaining({ host: "c", error: expect.objectContaining({ reason: "host_unavailable" }) }),
    ]);
    await eventually(() => expect(open).toBe(0));
    expect((await gateway.fetch("/healthz")).status).toBe(200);
    await forget("c");
  });

  test("of what no host has is a problem, and so is one of nothing", async () => {
    const absent = await gateway.fetch("/v1/images/save?reference=x:1");
    expect(absent.status).toBe(404);
    expect(await absent.json()).toMatchObject({ reason: "image_not_present" });
    expect((await gateway.fetch("/v1/images/save")).status).toBe(400);
  });

  test("that breaks off at the host breaks off for the caller too, who does not take it for whole", async () => {
    a.images.add("x:1");
    a.images.images.save = async () =>
      (async function* () {
        yield Buffer.from("the first half");
        throw new Error("the disk is gone");
      })();
    const saved = await gateway.fetch("/v1/images/save?reference=x:1");
    await expect(saved.text()).rejects.toThrow();
    expect((await gateway.fetch("/healthz")).status).toBe(200);
  });
});

test("without a host there is nothing to list, and nobody to load", async () => {
  await a.stop();
  await b.stop();
  expect(await get("/v1/images")).toEqual({ hosts: [] });
  const refused = await gateway.fetch("/v1/images/load", { method: "POST", body: "x" });
  expect([refused.status, await refused.json()]).toMatchObject([503, { reason: "host_unavailable" }]);
  expect((await gateway.fetch("/v1/images/save?reference=x")).status).toBe(503);
});
