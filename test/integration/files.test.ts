// Files of a run on their way from HTTP to the sandbox, through a real gateway and Redis and the real executor.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import type { Run } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, startFakeHost } from "../helpers/fake-host.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let host: FakeHost | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).not.toBe(500));
});
beforeEach(() => redis.flushall());
afterEach(async () => {
  await host?.stop();
  host = undefined;
});
afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

const submit = (request: object, headers: Record<string, string> = {}) =>
  gateway.fetch("/v1/runs", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ image: "busybox", ...request }),
  });

const bytes = Buffer.from([0, 255, 10]);
const files = [
  { path: "/work/a.txt", content: "text-that-is-looked-for" },
  { path: "/work/b", base64: bytes.toString("base64"), mode: "0755" },
];

test("files reach the sandbox as bytes with their permissions; the record has nothing of them, and they go when the run has finished", async () => {
  const { id } = (await (await submit({ files })).json()) as Run;
  expect(await redis.get(keys.files(id))).toContain("looked-for");
  expect(JSON.stringify(await redis.hgetall(keys.run(id)))).not.toContain("looked-for");
  host = await startFakeHost({ redisUrl: server.url, program: (sandbox) => sandbox.end() });
  const run = (await (await gateway.fetch(`/v1/runs/${id}`, { headers: { prefer: "wait=20" } })).json()) as Run;
  expect(run.outcome).toEqual({ kind: "exited", exitCode: 0 });
  expect(host.specs[0]?.files).toEqual([
    { path: "/work/a.txt", mode: 0o644, content: Buffer.from("text-that-is-looked-for") },
    { path: "/work/b", mode: 0o755, content: bytes },
  ]);
  expect(await redis.exists(keys.files(id))).toBe(0);
});

test("a run that is cancelled while it waits takes its files with it", async () => {
  const { id } = (await (await submit({ files })).json()) as Run;
  await gateway.fetch(`/v1/runs/${id}/cancel`, { method: "POST" });
  expect(await redis.exists(keys.files(id))).toBe(0);
});

test("the same idempotency key with another file is another request", async () => {
  const key = { "idempotency-key": "k" };
  const { id } = (await (await submit({ files }, key)).json()) as Run;
  expect(((await (await submit({ files }, key)).json()) as Run).id).toBe(id);
  expect((await submit({ files: [{ path: "/work/a.txt", content: "other" }] }, key)).status).toBe(409);
});

test.each([
  [[{ path: "/a/../b", content: "" }], "files.0.path"],
  [[{ path: "/a" }], "files.0"],
  [
    [
      { path: "/a", content: "" },
      { path: "/a", content: "" },
    ],
    "files.1.path",
  ],
  [[{ path: "/a", content: "a".repeat(4 * 2 ** 20 + 1) }], "files"],
  [Array.from({ length: 257 }, (_, i) => ({ path: `/${i}`, content: "" })), "files"],
])("what cannot be is refused, and the field is named: $1", async (wrong, field) => {
  const response = await submit({ files: wrong });
  const problem = (await response.json()) as { errors: { field: string }[] };
  expect([response.status, problem.errors[0]?.field]).toEqual([400, field]);
  expect(await redis.keys(keys.run("*"))).toEqual([]);
});
