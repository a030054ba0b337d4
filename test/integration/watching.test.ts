// A run that is watched: as lines for scripts, by ranges of its output while it grows, and by readers that stop reading.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Run } from "../../core/run.ts";
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
  gateway = await startGateway({ redisUrl: server.url });
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

async function submit(): Promise<string> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ image: "busybox", limits: { output: "16MiB" } });
  return ((await (await gateway.fetch("/v1/runs", { method: "POST", headers, body })).json()) as Run).id;
}

/** A run whose program has started, and does as the test tells it. */
async function running(): Promise<{ id: string; attempt: FakeAttempt; end: () => void }> {
  const begun = Promise.withResolvers<FakeAttempt>();
  const over = Promise.withResolvers<void>();
  worker = await startFakeWorker({
    redisUrl: server.url,
    behave: async (attempt) => {
      await attempt.started();
      begun.resolve(attempt);
      await over.promise;
      await attempt.exit(0);
    },
  });
  const id = await submit();
  return { id, attempt: await begun.promise, end: over.resolve };
}

describe("events as lines of JSON", () => {
  const NDJSON = { accept: "application/x-ndjson" };

  test("say what server-sent events say, each on a line, with the id to go on from", async () => {
    const { id, attempt, end } = await running();
    await attempt.write("stdout", "one\n");
    end();
    const answer = await gateway.fetch(`/v1/runs/${id}/events`, { headers: NDJSON });
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = (await answer.text()).trimEnd().split("\n").filter(Boolean);
    const events = lines.map((line) => JSON.parse(line));
    expect(events.find(({ event }) => event === "stdout")).toEqual({
      event: "stdout",
      id: "1.4.0",
      data: { offset: 0, base64: Buffer.from("one\n").toString("base64") },
    });
    expect(events.at(-1)).toMatchObject({ event: "end", data: { id, state: "finished", stdout: { bytesKept: 4 } } });
    const rest = await gateway.fetch(`/v1/runs/${id}/events`, { headers: { ...NDJSON, "last-event-id": "1.4.0" } });
    expect(await rest.text()).not.toContain('"stdout","id"');
  });

  test("are for who names them: anything else is answered with server-sent events", async () => {
    const { id, end } = await running();
    end();
    for (const accept of ["*/*", "text/event-stream", "application/json"]) {
      const answer = await gateway.fetch(`/v1/runs/${id}/events`, { headers: { accept } });
      expect(answer.headers.get("content-type")).toContain("text/event-stream");
      await answer.body?.cancel();
    }
  });
});

describe("a range of output", () => {
  const ranged = async (id: string, range: string, more = {}) => {
    const answer = await gateway.fetch(`/v1/runs/${id}/output/stdout`, { headers: { range, ...more } });
    const text = answer.status === 416 ? "" : await answer.text();
    return [answer.status, answer.headers.get("content-range"), text];
  };

  test("is answered while the program writes, and once it has ended with the length of all", async () => {
    const { id, attempt, end } = await running();
    expect(await ranged(id, "bytes=0-")).toEqual([416, "bytes */0", ""]);
    await attempt.write("stdout", "hello");
    expect(await ranged(id, "bytes=1-")).toEqual([206, "bytes 1-4/*", "ello"]);
    expect(await ranged(id, "bytes=5-")).toEqual([416, "bytes */5", ""]);
    await attempt.write("stdout", " world");
    expect(await ranged(id, "bytes=5-")).toEqual([206, "bytes 5-10/*", " world"]);
    end();
    await eventually(async () => expect(await ranged(id, "bytes=0-4")).toEqual([206, "bytes 0-4/11", "hello"]));
    expect(await ranged(id, "bytes=8-99")).toEqual([206, "bytes 8-10/11", "rld"]);
    expect(await ranged(id, "bytes=-3")).toEqual([206, "bytes 8-10/11", "rld"]);
    expect(await ranged(id, "bytes=-99")).toEqual([206, "bytes 0-10/11", "hello world"]);
    expect(await ranged(id, "bytes=-0")).toEqual([416, "bytes */11", ""]);
  });

  test("of a form that is not one range is all of it, as is one with a validator", async () => {
    const { id, attempt, end } = await running();
    await attempt.write("stdout", "hello");
    end();
    for (const range of ["bytes=0-1,3-4", "bytes=3-1", "bytes=-", "lines=0-1", "bytes=a-b"])
      expect(await ranged(id, range)).toEqual([200, null, "hello"]);
    expect(await ranged(id, "bytes=0-1", { "if-range": '"x"' })).toEqual([200, null, "hello"]);
  });
});

describe("readers that stop reading", () => {
  const READERS = 50;
  const PIECE = Buffer.alloc(1024 * 1024, "x");
  const PIECES = 12;

  /** Asks for a run's events, reads that they have begun, and nothing more. */
  async function stuckReader(id: string, accept: string): Promise<Socket> {
    const { hostname, port } = new URL(gateway.url);
    const socket = connect(Number(port), hostname);
    socket.write(`GET /v1/runs/${id}/events HTTP/1.1\r\nhost: ${hostname}:${port}\r\naccept: ${accept}\r\n\r\n`);
    await once(socket, "data");
    socket.pause();
    return socket;
  }

  const residentBytes = () =>
    1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]);

  test("slow no run, and hold no more of the gateway's memory than the piece that each was sent last", async () => {
    const { id, attempt, end } = await running();
    const kinds = ["text/event-stream", "application/x-ndjson"];
    const sockets = await Promise.all(
      Array.from({ length: READERS }, (_, i) => stuckReader(id, kinds[i % kinds.length] ?? "")),
    );
    const before = residentBytes();
    for (let i = 0; i < PIECES; i++) await attempt.write("stdout", PIECE);
    end();
    const answer = await gateway.fetch(`/v1/runs/${id}`, { headers: { prefer: "wait=60" } });
    expect(((await answer.json()) as Run).stdout?.bytesKept).toBe(PIECES * PIECE.length);
    // All of it for each would be 800 MiB in base 64; each holds a few pieces of 256 KiB on their way, and V8 what is not collected yet.
    expect(residentBytes() - before).toBeLessThan((READERS * PIECES * PIECE.length) / 2);

    // One that goes on reading is given all of it still.
    const [first] = sockets;
    let seen = "";
    first?.on("data", (chunk) => {
      seen = (seen + chunk).slice(-2_000);
    });
    first?.resume();
    await eventually(() => expect(seen).toContain("event: end"));
    for (const socket of sockets) socket.destroy();
  });
});
