// How much of a batch is in a gateway at once: as much as is on its way, and no more; and what is told of its end.

import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Ack, endOf, jsonLines, linesOf, readLines } from "../helpers/batch-lines.ts";
import { eventually } from "../helpers/eventually.ts";
import { startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { startReceiver } from "../helpers/receiver.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url, env: { MAYFLY_WEBHOOK_ALLOW: "127.0.0.1" } });
  await eventually(async () => expect(await (await gateway.fetch("/readyz")).text()).not.toContain("Redis"));
});
afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

/** What a body may have on its way that nobody has read: buffers of two sockets and of two processes. */
const ON_ITS_WAY_BYTES = 16 * 2 ** 20;

test("while Redis is paused nothing more of 100,000 lines is read: the sender is held up, and goes on when Redis does", async () => {
  const line = Buffer.from(`${JSON.stringify({ image: "busybox", command: ["echo", "x".repeat(500)] })}\n`);
  const piece = Buffer.concat(Array.from({ length: 100 }, () => line));
  const call = httpRequest(`${gateway.url}/v1/batches`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
  });
  const answered = once(call, "response");
  call.write(line);
  const [answer] = await answered;
  const texts: string[] = [];
  answer.on("data", (bytes: Buffer) => void texts.push(bytes.toString()));
  await eventually(() => expect(texts.join("")).toContain('"accepted":1'));
  // Shorter than the gateway waits for an answer of Redis'.
  await redis.client("PAUSE", 4_000, "ALL");
  const over = redis.ping().then(() => "over"); // It waits for the end of the pause.
  let written = 0;
  let heldUp: Promise<unknown> | undefined;
  while (written < 999) {
    written++;
    if (call.write(piece)) continue;
    heldUp = once(call, "drain");
    if ((await Promise.race([heldUp, over])) === "over") break;
    heldUp = undefined;
  }
  expect(heldUp).toBeDefined();
  expect(written * piece.length).toBeLessThan(ON_ITS_WAY_BYTES);
  await heldUp;
  for (; written < 999; written++) if (!call.write(piece)) await once(call, "drain");
  call.write(Buffer.concat(Array.from({ length: 99 }, () => line)));
  call.end();
  await once(answer, "end");
  expect(endOf(jsonLines<Ack>(texts.join(""))).counts.total).toBe(100_000);
});

test("a slow reader of results holds up nothing and nobody: what it does not read is not made", async () => {
  await redis.flushall();
  const output = "x".repeat(64 * 1024);
  const worker = await startFakeWorker({
    redisUrl: server.url,
    behave: async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", output);
      await attempt.exit(0);
    },
  });
  const lines = Array.from({ length: 1_000 }, () => JSON.stringify({ image: "busybox" }));
  const acks = await readLines<Ack>(await gateway.fetch("/v1/batches", { method: "POST", ...linesOf(lines) }));
  const id = acks[0]?.batch;
  await eventually(async () => {
    const batch = (await (await gateway.fetch(`/v1/batches/${id}`)).json()) as { state: string };
    expect(batch.state).toBe("finished");
  });
  const call = httpRequest(`${gateway.url}/v1/batches/${id}/results`).end();
  const [answer] = await once(call, "response");
  answer.pause();
  // It is asked for other things meanwhile, and what was sent is what sockets hold.
  for (let i = 0; i < 20; i++) await gateway.fetch(`/v1/batches/${id}`);
  expect(call.socket?.bytesRead).toBeLessThan(ON_ITS_WAY_BYTES);
  let bytes = 0;
  for await (const piece of answer) bytes += piece.length;
  expect(bytes).toBeGreaterThan(1_000 * output.length);
  await worker.stop();
});

test("a webhook is told of the batch's end, with its counts", async () => {
  await redis.flushall();
  const receiver = await startReceiver();
  const worker = await startFakeWorker({ redisUrl: server.url });
  const head = JSON.stringify({ batch: { name: "told", webhook: { url: receiver.url } } });
  const body = linesOf([head, JSON.stringify({ image: "busybox" }), "{"]);
  const acks = await readLines<Ack>(await gateway.fetch("/v1/batches", { method: "POST", ...body }));
  const [told] = await receiver.heard(1);
  expect(told?.headers["webhook-id"]).toBe(`${acks[0]?.batch}-finished`);
  expect(JSON.parse(String(told?.body))).toMatchObject({
    type: "batch.finished",
    data: { id: acks[0]?.batch, name: "told", state: "finished", counts: { total: 2, succeeded: 1, failed: 1 } },
  });
  await worker.stop();
  await receiver.stop();
});
