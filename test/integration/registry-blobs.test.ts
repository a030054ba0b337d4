// Blobs over connections that break, stand still, crawl or never end: what their reader sees, and what the registry is asked.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Digest, digestOf } from "../../runtime/content/digest.ts";
import { createRegistryClient, type RegistryClient } from "../../runtime/registry/client.ts";
import type { TransportLimits } from "../../runtime/registry/transport.ts";
import { type FakeRegistry, type Intercept, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";

const BYTES = randomBytes(300_000);
const BLOB = { digest: digestOf(BYTES), size: BYTES.length };
const MANIFEST_BYTES = buildImage({ layers: [] }).manifest.bytes.length;
const LIMITS: Partial<TransportLimits> = { requestMs: 2_000, idleMs: 300, retryDelaysMs: [1, 1] };

let registry: FakeRegistry;
let intercept: Intercept;
let client: RegistryClient;
beforeEach(async () => {
  intercept = () => false;
  registry = await start();
  client = createRegistryClient({ limits: LIMITS });
});

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: { ignoresRanges?: boolean } = {}): Promise<FakeRegistry> {
  const started = await startFakeRegistry({
    ...options,
    intercept: (request, response) => intercept(request, response),
  });
  cleanups.push(() => started.stop());
  started.add("demo/a:1", imageOf(BLOB.digest, BYTES));
  return started;
}

function imageOf(digest: Digest, bytes: Buffer) {
  const image = buildImage({ layers: [] });
  return { ...image, blobs: [...image.blobs, { mediaType: "application/octet-stream", digest, bytes }] };
}

const open = (size = BLOB.size, from = registry): Promise<Readable> =>
  client.blob({ host: from.host, path: "demo/a" }, { ...BLOB, size }, NEVER);

const read = async (stream: Readable): Promise<Buffer> => Buffer.concat(await stream.toArray());

const ranges = () => registry.requests.map(({ headers }) => headers.range);

test("a blob is a stream of Node's, and the reader has all of it", async () => {
  expect(await read(await open())).toEqual(BYTES);
  expect(ranges()).toEqual([undefined]);
});

test("a blob is taken as its bytes are, though the server calls its compression a coding of the answer", async () => {
  intercept = (_request, response) => {
    response.setHeader("content-encoding", "gzip");
    return false;
  };
  expect(await read(await open())).toEqual(BYTES);
  expect(registry.requests[0]?.headers["accept-encoding"]).toBe("identity");
});

test("a blob whose connection breaks three times is one stream, and only what is missing is asked for", async () => {
  registry.cut(BLOB.digest, 100_000, 1, 150_000);
  expect(await read(await open())).toEqual(BYTES);
  const starts = ranges().map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]));
  expect(starts).toHaveLength(4);
  expect(starts).toEqual(starts.toSorted((a, b) => a - b));
  expect(starts.at(-1)).toBeGreaterThan(0);
});

test("a registry that knows no ranges sends all of it once more, and the reader sees each byte once", async () => {
  registry = await start({ ignoresRanges: true });
  registry.cut(BLOB.digest, 200_000, 250_000);
  expect(await read(await open())).toEqual(BYTES);
});

test("a blob that ends short without a word of its length goes on where it ended", async () => {
  let isFirst = true;
  intercept = (_request, response) => {
    if (!isFirst) return false;
    isFirst = false;
    response.write(BYTES.subarray(0, 1_000)); // In chunks, and properly ended.
    response.end();
    return true;
  };
  expect(await read(await open())).toEqual(BYTES);
  expect(ranges()).toEqual([undefined, "bytes=1000-"]);
});

test("the state of the first bytes is named when the rest is asked for, and another state is refused", async () => {
  const tags = ['"one"', '"one"', '"two"'];
  intercept = ({ headers }, response) => {
    response.setHeader("etag", tags.shift() ?? "");
    if (tags.length === 2) expect(headers["if-range"]).toBeUndefined();
    else expect(headers["if-range"]).toBe('"one"');
    return false;
  };
  registry.cut(BLOB.digest, 100_000, 100_000);
  await expect(read(await open())).rejects.toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining("other bytes now"),
  });
});

test("a registry whose blob has another size after a break is refused", async () => {
  registry.cut(BLOB.digest, 100_000);
  const stream = await open();
  registry.lie(BLOB.digest, BYTES.subarray(1));
  await expect(read(stream)).rejects.toMatchObject({ reason: "image_corrupt" });
});

test("a connection that brings nothing new is given up after two resumes", async () => {
  intercept = breaking((from) => [from, from]);
  await expect(read(await open())).rejects.toMatchObject({ reason: "registry_unavailable" });
  expect(registry.requests.length).toBeLessThanOrEqual(4);
});

test("a connection that brings a byte each time is given up too", async () => {
  intercept = breaking((from) => [from, from + 1]);
  await expect(read(await open())).rejects.toMatchObject({ reason: "registry_unavailable" });
  expect(registry.requests.length).toBeLessThanOrEqual(61); // Twenty resumes, with what is lost on the way.
});

/** Sends of what is asked for only this part, and ends the answer properly. */
function breaking(partFrom: (from: number) => [number, number]): Intercept {
  return ({ headers }, response) => {
    const from = Number(headers.range?.slice("bytes=".length, -1) ?? 0);
    const last = BLOB.size - 1;
    response.writeHead(from === 0 ? 200 : 206, { "content-range": `bytes ${from}-${last}/${BLOB.size}` });
    response.end(BYTES.subarray(...partFrom(from === 0 ? 10 : from)));
    return true;
  };
}

test.each([
  ["larger", BLOB.size - 1],
  ["smaller", BLOB.size + 1],
])("a blob that is %s than its descriptor says is refused before a byte of it is read", async (_what, size) => {
  await expect(open(size)).rejects.toMatchObject({ reason: "image_corrupt", details: { size } });
  expect(registry.requests).toHaveLength(1);
});

test("a body without end is cut off at the size of the descriptor", async () => {
  let sent = 0;
  intercept = (_request, response) => {
    const more = () => {
      while (!response.destroyed && response.write(BYTES)) sent += BYTES.length;
      if (!response.destroyed) response.once("drain", more);
    };
    more();
    return true;
  };
  const error = await read(await open(1_000_000)).catch((thrown) => thrown);
  expect(error).toMatchObject({ reason: "image_corrupt", message: expect.stringContaining("sends more") });
  expect(sent).toBeLessThan(100_000_000);
});

test("a body that crawls is given up, though it never stands still", async () => {
  client = createRegistryClient({ limits: { ...LIMITS, idleMs: 10_000, minBytesPerS: 1_000, rateWindowMs: 200 } });
  intercept = (_request, response) => {
    response.writeHead(200, { "content-length": BLOB.size });
    const timer = setInterval(() => response.write("x"), 5);
    response.once("close", () => clearInterval(timer));
    return true;
  };
  await expect(read(await open())).rejects.toMatchObject({
    reason: "registry_unavailable",
    message: expect.stringContaining("less than 1000"),
  });
  expect(registry.requests).toHaveLength(1);
});

test("a reader who takes his time is not the sender's fault", async () => {
  client = createRegistryClient({ limits: { ...LIMITS, requestMs: 500, idleMs: 500, rateWindowMs: 500 } });
  const stream = await open();
  const parts: Buffer[] = [];
  for await (const part of stream) {
    parts.push(part);
    if (parts.length === 1) await new Promise((resolve) => setTimeout(resolve, 700)); // Longer than every limit.
  }
  expect(Buffer.concat(parts)).toEqual(BYTES);
  expect(registry.requests).toHaveLength(1);
});

test("a reader who leaves closes the connection at once, though nothing comes", async () => {
  client = createRegistryClient({ limits: { ...LIMITS, idleMs: 60_000 } });
  const left = Promise.withResolvers<void>();
  intercept = (_request, response) => {
    response.writeHead(200, { "content-length": BLOB.size });
    response.write("x");
    response.once("close", () => left.resolve());
    return true;
  };
  const stream = await open();
  await once(stream, "readable");
  stream.read();
  stream.destroy();
  await once(stream, "close");
  await left.promise;
});

test("an aborted download rejects with the signal's reason, in the middle", async () => {
  client = createRegistryClient({ limits: { ...LIMITS, idleMs: 60_000 } });
  intercept = (_request, response) => {
    response.writeHead(200, { "content-length": BLOB.size });
    response.write("x");
    return true;
  };
  const caller = new AbortController();
  const stream = await client.blob({ host: registry.host, path: "demo/a" }, BLOB, caller.signal);
  stream.once("data", () => caller.abort(new Error("enough")));
  await expect(read(stream)).rejects.toThrow("enough");
});

test("at most sixteen downloads go on from a registry, the next one waits without its time running, and no manifest waits for them", async () => {
  client = createRegistryClient({ limits: { ...LIMITS, requestMs: 1_000, idleMs: 60_000 } });
  const held: Readable[] = [];
  for (let index = 0; index < 16; index++) held.push(await open());
  const waiting = open();
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // Longer than a request may take.
  expect(registry.requests).toHaveLength(16);
  expect(await client.manifest({ host: registry.host, path: "demo/a" }, "1", NEVER)).toHaveLength(MANIFEST_BYTES);
  held.pop()?.destroy();
  expect(await read(await waiting)).toEqual(BYTES);
  for (const stream of held) stream.destroy();
});

test("connections are kept: requests one after the other do not make one each", async () => {
  const server = createServer((socket) => {
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
  });
  let connections = 0;
  server.on("connection", () => connections++);
  const host = await listen(server);
  for (let index = 0; index < 20; index++) await client.manifest({ host, path: "demo/a" }, "1", NEVER);
  expect(connections).toBeLessThanOrEqual(2); // The first may not know yet that it is free.
});

test.each([
  ["what is not HTTP", "SSH-2.0-OpenSSH_9.6\r\n"],
  ["headers without end", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(10_000)}`],
  ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"],
  ["nothing", ""],
])("a server that answers with %s is unavailable", async (_what, answer) => {
  const server = createServer((socket) => socket.on("error", () => {}).once("data", () => socket.end(answer)));
  const host = await listen(server);
  const asking = client.manifest({ host, path: "demo/a" }, "1", NEVER);
  await expect(asking).rejects.toMatchObject({ reason: "registry_unavailable", details: { host } });
});

async function listen(server: Server): Promise<string> {
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}
