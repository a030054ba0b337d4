// A host's image service over real HTTP, with images that are only told of.

import { request as httpRequest } from "node:http";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MayflyError } from "../../core/errors.ts";
import { ClusterSecret, signHostRequest } from "../../core/host-token.ts";
import { keys } from "../../core/keys.ts";
import { SILENT } from "../../core/log.ts";
import { type ImageService, startImageService } from "../../worker/images/server.ts";
import { eventually } from "../helpers/eventually.ts";
import { createFakeImages, digestOf, type FakeImages } from "../helpers/fake-image-admin.ts";
import { openFiles } from "../helpers/open-files.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let images: FakeImages;
let service: ImageService;

const LISTEN = { host: "127.0.0.1", port: 0 };
const MAX_ARCHIVE = 1_000_000;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});

beforeEach(async () => {
  images = await createFakeImages();
  const secret = new ClusterSecret(redis);
  service = await startImageService({
    listen: LISTEN,
    runtime: images,
    secret,
    maxArchiveBytes: MAX_ARCHIVE,
    log: SILENT,
  });
});

afterEach(async () => {
  await service.close();
  await images.remove();
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function ask(method: string, path: string, init: RequestInit = {}): Promise<Response> {
  const authorization = signHostRequest(await new ClusterSecret(redis).read(), { method, path });
  const headers = { authorization, ...(init.headers as Record<string, string>) };
  return fetch(`${service.url}${path}`, { ...init, method, headers });
}

const post = (path: string, body: unknown) =>
  ask("POST", path, { body: typeof body === "string" ? body : JSON.stringify(body) });

async function events(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  return [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? ""));
}

describe("whoever asks", () => {
  const ROUTES = [
    ["GET", "/images"],
    ["GET", "/images/usage"],
    ["GET", "/images/inspect?reference=a"],
    ["DELETE", "/images?reference=a"],
    ["POST", "/images/pull"],
    ["POST", "/images/pin"],
    ["POST", "/images/prune"],
    ["POST", "/images/verify"],
    ["POST", "/images/load"],
    ["GET", "/images/save?reference=a"],
    ["GET", `/blobs/${digestOf("x")}`],
    ["GET", "/nothing"],
  ] as const;

  test.each(ROUTES)("%s %s is refused without a signature, and nothing is done", async (method, path) => {
    const response = await fetch(`${service.url}${path}`, { method });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ reason: "key_unknown" });
    expect(images.calls).toEqual([]);
  });

  test.each([
    ["another path", { method: "GET", path: "/images/usage" }, 0],
    ["another query", { method: "GET", path: "/images?a=b" }, 0],
    ["another method", { method: "DELETE", path: "/images" }, 0],
    ["two minutes ago", { method: "GET", path: "/images" }, -120_000],
    ["two minutes from now", { method: "GET", path: "/images" }, 120_000],
  ])("a signature of %s is refused", async (_, request, ms) => {
    const secret = await new ClusterSecret(redis).read();
    const authorization = signHostRequest(secret, request, Date.now() + ms);
    expect((await fetch(`${service.url}/images`, { headers: { authorization } })).status).toBe(401);
  });

  test("the secret is made once, however many want it at the same time, and is long enough not to be guessed", async () => {
    await redis.del(keys.secret);
    const secrets = await Promise.all([1, 2, 3, 4].map(() => new ClusterSecret(redis).read()));
    expect(new Set(secrets).size).toBe(1);
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("members find together again after Redis has been emptied", async () => {
    expect((await ask("GET", "/images")).status).toBe(200);
    await redis.del(keys.secret);
    await eventually(async () => expect((await ask("GET", "/images")).status).toBe(200));
  });
});

describe("questions", () => {
  test("are answered with what the host has", async () => {
    const busybox = images.add("busybox:1");
    expect(await (await ask("GET", "/images")).json()).toEqual([busybox]);
    expect(await (await ask("GET", "/images/usage")).json()).toMatchObject({ images: 1, reclaimable: 30 });
    const inspection = await (await ask("GET", "/images/inspect?reference=busybox%3A1")).json();
    expect(inspection).toMatchObject({ ...busybox, config: { command: ["sh"] } });
    expect(await (await post("/images/pin", { reference: "busybox:1", pinned: true })).json()).toBe(true);
    expect(images.held.get("busybox:1")?.pinned).toBe(true);
    expect(await (await post("/images/prune", { unusedForMs: 5 })).json()).toMatchObject({ references: [] });
    expect(await (await post("/images/verify", { repair: true })).json()).toMatchObject({ blobs: 2 });
    expect(images.calls).toContain("verify all true");
  });

  test("that fail are answered with the reason", async () => {
    images.add("pinned", { pinned: true });
    const absent = await ask("DELETE", "/images?reference=nothing");
    expect([absent.status, await absent.json()]).toMatchObject([404, { reason: "image_not_present" }]);
    const pinned = await ask("DELETE", "/images?reference=pinned");
    expect([pinned.status, await pinned.json()]).toMatchObject([400, { reason: "image_in_use" }]);
    expect(images.held.has("pinned")).toBe(true);
  });

  test("that meet a fault are told nothing of what it is", async () => {
    images.failure = new Error("ENOENT /var/lib/secret");
    const response = await ask("GET", "/images");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
  });

  test.each([
    ["/images/pin", "{", "malformed_body"],
    ["/images/pin", { reference: "a" }, "invalid_field"],
    ["/images/pin", { reference: "a", pinned: "yes" }, "invalid_field"],
    ["/images/pin", { reference: "a", pinned: true, more: 1 }, "invalid_field"],
    ["/images/prune", { unusedForMs: -1 }, "invalid_field"],
    ["/images/pull", { reference: "a", pull: "sometimes" }, "invalid_field"],
    ["/images/verify", "", "malformed_body"],
  ])("%s of %j is refused as %s, and nothing is done", async (path, body, reason) => {
    expect(await (await post(path, body)).json()).toMatchObject({ reason });
    expect(images.calls).toEqual([]);
  });
});

test("a request that is larger than any is not read", async () => {
  const response = await post("/images/pull", { reference: "a".repeat(20_000) });
  expect(await response.json()).toMatchObject({ reason: "body_too_large" });
});

describe("a pull", () => {
  const LAYER = { digest: digestOf("l"), size: 100 } as const;
  const layer = { ...LAYER, digest: LAYER.digest as `sha256:${string}` };

  test("is told as it goes on, ends with the image, and leaves it held by nobody", async () => {
    images.pulls.set("a", async (_, tell) => {
      tell({ ...layer, state: "pulling", bytes: 50 });
      tell({ ...layer, state: "done", bytes: 100 });
    });
    const told = await events(await post("/images/pull", { reference: "a", pull: "always" }));
    expect(images.calls).toEqual(["pull a always"]);
    expect(told.slice(0, -1)).toEqual([{ kind: "layer", ...layer, state: "done", bytes: 100 }]);
    expect(told.at(-1)).toEqual({ kind: "ready", reference: "a", digest: images.held.get("a")?.digest, layers: 1 });
    expect(images.holds).toBe(0);
  });

  test("that fails says why, and a fault says nothing", async () => {
    images.pulls.set("a", () => Promise.reject(new MayflyError("image_not_found", "there is no a")));
    images.pulls.set("b", () => Promise.reject(new Error("secret")));
    expect(await events(await post("/images/pull", { reference: "a" }))).toEqual([
      { kind: "failed", reason: "image_not_found", message: "there is no a" },
    ]);
    const [failed] = await events(await post("/images/pull", { reference: "b" }));
    expect(failed).toMatchObject({ reason: "bug", message: expect.not.stringContaining("secret") });
  });

  test("ends when nobody listens any more", async () => {
    const ended = Promise.withResolvers<void>();
    images.pulls.set("a", (signal, tell) => {
      tell({ ...layer, state: "pulling", bytes: 1 });
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          ended.resolve();
          reject(signal.reason);
        }),
      );
    });
    const controller = new AbortController();
    const body = JSON.stringify({ reference: "a" });
    const response = await ask("POST", "/images/pull", { body, signal: controller.signal });
    await response.body?.getReader().read();
    controller.abort();
    await ended.promise;
  });
});

describe("a blob", () => {
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));

  test("comes whole, or in a part, with its length", async () => {
    const digest = await images.addBlob(bytes);
    const whole = await ask("GET", `/blobs/${digest}`);
    expect([whole.status, whole.headers.get("content-length")]).toEqual([200, "300000"]);
    expect(Buffer.from(await whole.arrayBuffer()).equals(bytes)).toBe(true);
    const part = await ask("GET", `/blobs/${digest}`, { headers: { range: "bytes=100000-" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 100000-299999/300000"]);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(100_000))).toBe(true);
    const beyond = await ask("GET", `/blobs/${digest}`, { headers: { range: "bytes=300000-" } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */300000"]);
  });

  test("that is empty is no trouble", async () => {
    const digest = await images.addBlob(new Uint8Array());
    expect(await (await ask("GET", `/blobs/${digest}`)).text()).toBe("");
  });

  test("that is not here, has gone from the disk, or is no digest is not found", async () => {
    const digest = await images.addBlob(bytes);
    await images.remove();
    expect((await ask("GET", `/blobs/${digest}`)).status).toBe(404);
    expect((await ask("GET", `/blobs/${digestOf("other")}`)).status).toBe(404);
    expect(await (await ask("GET", "/blobs/..%2f..%2fetc%2fpasswd")).json()).toMatchObject({ reason: "invalid_field" });
  });

  test("is closed when its reader goes away in the middle", async () => {
    const digest = await images.addBlob(Buffer.alloc(50_000_000));
    const controller = new AbortController();
    const response = await ask("GET", `/blobs/${digest}`, { signal: controller.signal });
    await response.body?.getReader().read();
    expect(await openFiles(images.directory)).toBe(1);
    controller.abort();
    await eventually(async () => expect(await openFiles(images.directory)).toBe(0));
  });
});

describe("an archive", () => {
  test("goes in and comes out as it is", async () => {
    expect(await (await ask("POST", "/images/load", { body: "a:1\nb:2\n" })).json()).toEqual(["a:1", "b:2"]);
    const saved = await ask("GET", "/images/save?reference=a%3A1&reference=b%3A2&format=docker");
    expect(await saved.text()).toBe("a:1\nb:2\n");
    expect(images.calls.at(-1)).toBe("save a:1,b:2 docker");
  });

  test("of an image that is not here is refused before the first byte", async () => {
    expect(await (await ask("GET", "/images/save?reference=a")).json()).toMatchObject({ reason: "image_not_present" });
    expect(await (await ask("GET", "/images/save")).json()).toMatchObject({ reason: "invalid_field" });
    expect(await (await ask("GET", "/images/save?reference=a&format=zip")).json()).toMatchObject({
      reason: "invalid_field",
    });
  });

  test("that is over the limit is refused, however it is sent", async () => {
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(Buffer.alloc(100_000, "a\n")),
    });
    const init = { body, duplex: "half" } as RequestInit;
    expect(await (await ask("POST", "/images/load", init)).json()).toMatchObject({ reason: "body_too_large" });
    expect(images.held.size).toBe(0);
  });

  test("that breaks off is not taken for a whole one", async () => {
    const path = "/images/load";
    const authorization = signHostRequest(await new ClusterSecret(redis).read(), { method: "POST", path });
    const outgoing = httpRequest(`${service.url}${path}`, { method: "POST", headers: { authorization } });
    outgoing.on("error", () => {});
    outgoing.write("a:1\n");
    await eventually(() => expect(images.calls).toEqual(["load begins"]));
    outgoing.destroy();
    await eventually(() => expect(images.calls).toEqual(["load begins", "load broke off"]));
    expect(images.held.size).toBe(0);
  });
});

describe("where it is to be found", () => {
  const start = (listen: { host: string; port: number }, advertise?: { host: string; port: number | undefined }) =>
    startImageService({
      ...{ listen, advertise, runtime: images, secret: new ClusterSecret(redis) },
      ...{ maxArchiveBytes: 1, log: SILENT },
    });

  test("is where it listens, or what its operator says, with the port it listens on", async () => {
    expect(service.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const own = await start({ host: "0.0.0.0", port: 0 }, { host: "fd00::1", port: undefined });
    expect(own.url).toMatch(/^http:\/\/\[fd00::1\]:[1-9]\d*$/);
    await own.close();
    const named = await start({ host: "0.0.0.0", port: 0 }, { host: "host.example", port: 7 });
    expect(named.url).toBe("http://host.example:7");
    await named.close();
  });

  test("is no address that is everywhere and nowhere", async () => {
    await expect(start({ host: "0.0.0.0", port: 0 })).rejects.toThrow("MAYFLY_IMAGES_ADDRESS");
    await expect(start({ host: "::", port: 0 })).rejects.toThrow("MAYFLY_IMAGES_ADDRESS");
  });

  test("is not a port that another has", async () => {
    const port = Number(new URL(service.url).port);
    await expect(start({ host: "127.0.0.1", port })).rejects.toThrow("MAYFLY_IMAGES_LISTEN");
  });
});
