// Uploads through a real gateway and Redis, and the real executor: sent, told of, named by runs, kept for them, gone.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Batch } from "../../core/batch.ts";
import { newBatchId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import type { Run } from "../../core/run.ts";
import type { Upload } from "../../core/uploads.ts";
import { makeWithUpload } from "../../gateway/batches/uploads.ts";
import { UploadPins } from "../../gateway/dispatch/upload-pins.ts";
import type { SandboxSpec } from "../../runtime/index.ts";
import { wholeOf } from "../helpers/archive.ts";
import { type Ack, endOf, readLines } from "../helpers/batch-lines.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, startFakeHost } from "../helpers/fake-host.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { type TarEntry, tar } from "../helpers/tar-builder.ts";

const MIB = 1024 * 1024;
const KEYS = { acme: "a", other: "o" };
const ENV = { MAYFLY_MAX_UPLOAD: "2MiB", MAYFLY_TENANT_UPLOADS: "3MiB" };

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let host: FakeHost | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url, keys: KEYS, env: ENV });
  await eventually(async () => expect(await (await gateway.fetch("/readyz")).text()).not.toContain("Redis"));
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

type Tenant = keyof typeof KEYS;
const call = (method: string, path: string, { as = "acme" as Tenant, ...init }: RequestInit & { as?: Tenant } = {}) =>
  gateway.fetch(path, { method, ...init, headers: { ...init.headers, authorization: `Bearer ${KEYS[as]}` } });

const send = (body: Buffer, as: Tenant = "acme", type = "application/x-tar") =>
  call("POST", "/v1/uploads", { as, body: new Uint8Array(body), headers: { "content-type": type } });

async function made(entries: readonly TarEntry[] = ENTRIES, as: Tenant = "acme"): Promise<Upload> {
  const answer = await send(tar(entries), as);
  expect(answer.status, await answer.clone().text()).toBe(201);
  return (await answer.json()) as Upload;
}

const submit = (request: object, as: Tenant = "acme", headers: Record<string, string> = {}) =>
  call("POST", "/v1/runs", {
    as,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ image: "busybox", ...request }),
  });

async function accepted(request: object): Promise<string> {
  const answer = await submit(request);
  expect(answer.ok, await answer.clone().text()).toBe(true); // A fast one may be over already.
  return ((await answer.json()) as Run).id;
}

const ended = async (id: string) =>
  (await (await call("GET", `/v1/runs/${id}`, { headers: { prefer: "wait=20" } })).json()) as Run;

const reasonOf = async (answer: Response | Promise<Response>) => {
  const { status, reason } = (await (await answer).json()) as { status: number; reason: string };
  return [status, reason];
};

const ENTRIES: readonly TarEntry[] = [
  { path: "./" },
  { path: "./src/" },
  { path: "./src/main.c", content: "int main;", mode: 0o755 },
  { path: "./empty/" },
];

interface Seen {
  readonly path: string;
  readonly mode: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** A host whose programs read all that they are brought, and end. */
async function startReader(): Promise<Seen[][]> {
  const seen: Seen[][] = [];
  const read = async ({ streamed }: SandboxSpec) => {
    const files: Seen[] = [];
    for await (const { path, mode, bytes, content } of streamed ?? [])
      files.push({ path, mode, bytes, sha256: sha256(await wholeOf(content)) });
    seen.push(files);
  };
  host = await startFakeHost({
    redisUrl: server.url,
    program: (sandbox, spec) => {
      read(spec).then(
        () => sandbox.end(),
        (error) => sandbox.lose(error),
      );
    },
  });
  return seen;
}

const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");

/** As if so much time had passed that everything is looked at now. */
const lookAtAll = async () => {
  for (const member of await redis.zrange(keys.uploadsDue, "0", "-1")) await redis.zadd(keys.uploadsDue, 0, member);
};

const left = async () => (await redis.keys("{mayfly}:upload*")).sort();

describe("an upload", () => {
  test("is told of to its tenant alone, listed newest first, and gone once it is removed", async () => {
    const answer = await send(tar(ENTRIES));
    const first = (await answer.json()) as Upload;
    expect(answer.headers.get("location")).toBe(`/v1/uploads/${first.id}`);
    expect(first).toMatchObject({ files: 3, bytes: "int main;".length + "src/src/main.cempty/".length });
    expect(Date.parse(first.expiresAt) - Date.parse(first.createdAt)).toBe(86_400_000);
    const second = await made();
    expect(await (await call("GET", `/v1/uploads/${first.id}`)).json()).toEqual(first);
    const page = await (await call("GET", "/v1/uploads?limit=1")).json();
    expect(page).toEqual({ uploads: [second], next: second.id });
    expect(await (await call("GET", `/v1/uploads?cursor=${second.id}`)).json()).toEqual({ uploads: [first] });

    for (const method of ["GET", "DELETE"])
      expect(await reasonOf(call(method, `/v1/uploads/${first.id}`, { as: "other" }))).toEqual([
        404,
        "upload_not_found",
      ]);
    expect(await (await call("GET", "/v1/uploads", { as: "other" })).json()).toEqual({ uploads: [] });

    for (const { id } of [first, second]) expect((await call("DELETE", `/v1/uploads/${id}`)).status).toBe(204);
    expect(await reasonOf(call("DELETE", `/v1/uploads/${first.id}`))).toEqual([404, "upload_not_found"]);
    expect(await left()).toEqual([]);
  });

  test("lies in Redis in pieces of 256 KiB, which is what a run's program finds, with the files of the request behind them", async () => {
    const content = randomBytes(MIB);
    const { id } = await made([{ path: "big", content }, ...ENTRIES]);
    const sizes = await Promise.all(
      [0, 1, 2, 3, 4].map(async (i) => (await redis.lindexBuffer(keys.uploadPieces(id), i))?.length),
    );
    expect(sizes.slice(0, 4)).toEqual(Array(4).fill(256 * 1024));
    const seen = await startReader();
    const files = [{ path: "/in/big", content: "inline" }];
    expect((await ended(await accepted({ upload: { id, path: "/in" }, files }))).outcome).toEqual({
      kind: "exited",
      exitCode: 0,
    });
    expect(seen[0]).toEqual([
      { path: "/in/big", mode: 0o644, bytes: MIB, sha256: sha256(content) },
      { path: "/in/src/", mode: 0o755, bytes: 0, sha256: sha256("") },
      { path: "/in/src/main.c", mode: 0o755, bytes: 9, sha256: sha256("int main;") },
      { path: "/in/empty/", mode: 0o755, bytes: 0, sha256: sha256("") },
    ]);
    expect(host?.specs[0]?.files).toEqual([{ path: "/in/big", mode: 0o644, content: Buffer.from("inline") }]);
  });

  test("may be gzip, and is put under /work, or under /, or where a URL says", async () => {
    const answer = await send(gzipSync(tar([{ path: "a", content: "x" }])), "acme", "application/gzip");
    const { id } = (await answer.json()) as Upload;
    const seen = await startReader();
    await ended(await accepted({ upload: { id } }));
    await ended(await accepted({ upload: { id, path: "/" } }));
    expect((await call("POST", `/v1/run/busybox?upload=${id}&uploadPath=/url`)).status).toBe(200);
    expect(seen.map(([file]) => file?.path)).toEqual(["/work/a", "/a", "/url/a"]);
  });

  test("of another kind than a tar is refused by its type, and one that is not allowed by its entry", async () => {
    expect(await reasonOf(send(tar(ENTRIES), "acme", "application/json"))).toEqual([415, "unsupported_media_type"]);
    const encoded = { "content-type": "application/x-tar", "content-encoding": "br" };
    expect(await reasonOf(call("POST", "/v1/uploads", { body: "x", headers: encoded }))).toEqual([
      415,
      "unsupported_media_type",
    ]);
    const bad = await send(tar([...ENTRIES, { path: "../x" }]));
    expect(await bad.json()).toMatchObject({ status: 400, reason: "upload_invalid", detail: '"../x" has .. in it' });
    expect(await left()).toEqual([]);
  });
});

describe("what is sent and does not become an upload leaves nothing behind:", () => {
  test("one that is larger than may be", async () => {
    const big = tar([{ path: "big", content: randomBytes(2 * MIB) }]);
    expect(await reasonOf(send(big))).toEqual([413, "body_too_large"]);
    expect(await left()).toEqual([]);
  });

  test("one that breaks off", async () => {
    const socket = await beginUpload(tar([{ path: "big", content: randomBytes(MIB) }]).subarray(0, 700_000));
    socket.destroy();
    await eventually(async () => expect(await left()).toEqual([]));
    expect(gateway.log.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("one whose gateway is killed: its pieces have a time to live, and another gateway takes what counts against the tenant", async () => {
    const other = await startGateway({ redisUrl: server.url, keys: KEYS, env: ENV });
    try {
      await eventually(async () => expect(await (await other.fetch("/readyz")).text()).not.toContain("Redis"));
      const socket = await beginUpload(tar([{ path: "big", content: randomBytes(MIB) }]).subarray(0, 700_000), other);
      await other.stop("SIGKILL");
      socket.destroy();
      const [id = ""] = await redis.hkeys(keys.uploadsOf("acme"));
      for (const name of [keys.upload(id), keys.uploadPieces(id)]) expect(await redis.pttl(name)).toBeGreaterThan(0);
      expect(await reasonOf(submit({ upload: { id } }))).toEqual([404, "upload_not_found"]);
      await redis.unlink(keys.upload(id), keys.uploadPieces(id));
      await lookAtAll();
      await eventually(async () => expect(await left()).toEqual([]));
    } finally {
      await other.stop();
    }
  });

  test("one more than the gateway takes at once; once another has come in it is taken", async () => {
    const env = { ...ENV, MAYFLY_MAX_WAITING: "1" };
    const small = await startGateway({ redisUrl: server.url, keys: KEYS, env });
    try {
      await eventually(async () => expect(await (await small.fetch("/readyz")).text()).not.toContain("Redis"));
      const socket = await beginUpload(tar([{ path: "big", content: randomBytes(MIB) }]).subarray(0, 700_000), small);
      const headers = { authorization: `Bearer ${KEYS.acme}`, "content-type": "application/x-tar" };
      const body = () => ({ method: "POST", headers, body: new Uint8Array(tar(ENTRIES)) });
      const refused = await small.fetch("/v1/uploads", body());
      expect(await refused.json()).toMatchObject({
        status: 429,
        reason: "too_many_waiters",
        detail: expect.stringContaining("holds 1 waiting"),
      });
      socket.destroy();
      await eventually(async () => expect((await small.fetch("/v1/uploads", body())).status).toBe(201));
    } finally {
      await small.stop();
    }
  });

  test("one that is more than the tenant may have with its others; once one is removed it may", async () => {
    const two = [{ path: "big", content: randomBytes(1.9 * MIB) }];
    const { id } = await made(two);
    const refused = await send(tar(two));
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await refused.json()).toMatchObject({
      reason: "quota_exceeded",
      detail: expect.stringContaining("3MiB of uploads"),
    });
    expect(await redis.hkeys(keys.uploadsOf("acme"))).toEqual([id]);
    await made(two, "other");
    await call("DELETE", `/v1/uploads/${id}`);
    await made(two);
  });

  test("one more than the tenant may have in number", async () => {
    const many = Array.from({ length: 1000 }, (_, i) => [`upl_${i}`, 1]);
    await redis.hset(keys.uploadsOf("acme"), Object.fromEntries(many));
    const refused = await send(tar(ENTRIES));
    expect(await refused.json()).toMatchObject({ status: 429, detail: expect.stringContaining("1000 uploads") });
  });
});

describe("a run that names an upload", () => {
  test.each([
    ["is unknown", async () => "upl_01k3q7v2m8r4t6w9x1z3b5c7d9"],
    ["is another tenant's", async () => (await made(ENTRIES, "other")).id],
    [
      "was removed",
      async () => {
        const { id } = await made();
        await call("DELETE", `/v1/uploads/${id}`);
        return id;
      },
    ],
    [
      "is over",
      async () => {
        const { id } = await made();
        await redis.hset(keys.upload(id), "expiresAt", 1);
        return id;
      },
    ],
  ])("that %s is refused, and there is no run", async (_what, idOf) => {
    const id = await idOf();
    const answer = await submit({ upload: { id } });
    expect(await answer.json()).toMatchObject({
      status: 404,
      reason: "upload_not_found",
      errors: [{ field: "upload.id" }],
    });
    expect(await redis.keys(keys.run("*"))).toEqual([]);
  });

  test.each([
    [{ id: "upl_1" }, "upload.id"],
    [{ id: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9", path: "work" }, "upload.path"],
    [{ id: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9", path: "/a/../b" }, "upload.path"],
    [{ id: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9", path: `/${"a".repeat(1024)}` }, "upload.path"],
  ])("in a way that cannot be is told the field: %j", async (upload, field) => {
    expect(await (await submit({ upload })).json()).toMatchObject({ status: 400, errors: [{ field }] });
  });

  test("keeps it: removed meanwhile it is there for the run, and gone when that has ended", async () => {
    const { id } = await made();
    const runs = [await accepted({ upload: { id } }), await accepted({ upload: { id } })];
    expect((await call("DELETE", `/v1/uploads/${id}`)).status).toBe(204);
    expect((await call("GET", `/v1/uploads/${id}`)).status).toBe(404);
    expect((await submit({ upload: { id } })).status).toBe(404);
    await lookAtAll();
    await eventually(async () => expect(Number(await redis.zscore(keys.uploadsDue, `acme ${id}`))).toBeGreaterThan(0));
    expect(await redis.hkeys(keys.uploadsOf("acme"))).toEqual([id]); // It still counts.
    const seen = await startReader();
    for (const run of runs) expect((await ended(run)).outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(seen.map((files) => files.length)).toEqual([3, 3]);
    await lookAtAll();
    await eventually(async () => expect(await left()).toEqual([]));
  });

  test("by a call that is sent again, when it is there no more, is the run of the first", async () => {
    const { id } = await made();
    const send = () => submit({ upload: { id } }, "acme", { "idempotency-key": "once" });
    const first = (await (await send()).json()) as Run;
    await call("DELETE", `/v1/uploads/${id}`);
    expect(((await (await send()).json()) as Run).id).toBe(first.id);
    expect(await reasonOf(submit({ upload: { id } }, "acme", { "idempotency-key": "twice" }))).toEqual([
      404,
      "upload_not_found",
    ]);
  });

  test("keeps it beyond its time", async () => {
    const { id } = await made();
    const run = await accepted({ upload: { id } });
    await redis.hset(keys.upload(id), "expiresAt", 1);
    await lookAtAll();
    await eventually(async () => expect(Number(await redis.zscore(keys.uploadsDue, `acme ${id}`))).toBeGreaterThan(0));
    const seen = await startReader();
    expect((await ended(run)).outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(seen[0]).toHaveLength(3);
  });

  test("is let go of by those that have ended, so that what is written of them stays short", async () => {
    const { id } = await made();
    await startReader();
    for (let i = 0; i < 30; i++) await ended(await accepted({ upload: { id } }));
    expect(await redis.zcard(keys.uploadUsers(id))).toBeLessThanOrEqual(5);
  });

  test("and is refused for another reason does not keep it for longer than a minute", async () => {
    const { id } = await made();
    await redis.hset(keys.tenant("acme"), "queued", 0);
    expect((await submit({ upload: { id } })).status).toBe(429);
    await call("DELETE", `/v1/uploads/${id}`);
    const [user = ""] = await redis.zrange(keys.uploadUsers(id), "0", "-1");
    await redis.zadd(keys.uploadUsers(id), Date.now() - 61_000, user);
    await lookAtAll();
    await eventually(async () => expect(await left()).toEqual([]));
  });

  test("and finds it gone is rejected with that reason", async () => {
    const { id } = await made();
    const run = await accepted({ upload: { id } });
    await redis.unlink(keys.upload(id));
    await startReader();
    expect((await ended(run)).outcome).toMatchObject({ kind: "rejected", code: "upload_not_found" });
  });

  test("and has failed for good is tried again with it, though it was removed", async () => {
    const { id } = await made();
    host = await startFakeHost({
      redisUrl: server.url,
      program: (sandbox) => sandbox.end({ kind: "exited", exitCode: 1 }),
    });
    const failed = await accepted({ upload: { id }, retry: { attempts: 1 } });
    await ended(failed);
    await call("DELETE", `/v1/uploads/${id}`);
    await lookAtAll();
    await host.stop();
    const answer = await call("POST", `/v1/dead-letters/${failed}/retry`);
    expect(answer.status).toBeLessThan(300);
    const { run } = (await answer.json()) as { run: string };
    const seen = await startReader();
    await ended(run);
    expect(seen[0]).toHaveLength(3);
  });
});

describe("a batch", () => {
  const sendBatch = (query: string, type: string, body: string) =>
    call("POST", `/v1/batches${query}`, { headers: { "content-type": type }, body });

  const over = async (id: string): Promise<Batch> => {
    const read = async () => (await (await call("GET", `/v1/batches/${id}`)).json()) as Batch;
    await eventually(async () => expect((await read()).state).toBe("finished"));
    return read();
  };

  test("keeps what its items name until it is over; an item that names none that is there is malformed", async () => {
    const { id } = await made();
    const unknown = "upl_01k3q7v2m8r4t6w9x1z3b5c7d9";
    const items = [id, unknown, id].map((upload, i) => ({ key: `k${i}`, image: "busybox", upload: { id: upload } }));
    const lines = items.map((item) => `${JSON.stringify(item)}\n`).join("");
    const acks = await readLines<Ack>(await sendBatch("", "application/x-ndjson", lines));
    expect(acks.find(({ malformed }) => malformed)).toMatchObject({
      malformed: 2,
      message: expect.stringContaining(`there is no upload ${unknown}`),
    });
    expect(await redis.zrange(keys.uploadUsers(id), "0", "-1")).toEqual([endOf(acks).id]);
    await call("DELETE", `/v1/uploads/${id}`);
    await lookAtAll();
    await eventually(async () => expect(Number(await redis.zscore(keys.uploadsDue, `acme ${id}`))).toBeGreaterThan(0));
    const seen = await startReader();
    expect((await over(endOf(acks).id)).counts).toMatchObject({ succeeded: 2, failed: 1 });
    expect(seen.map((files) => files.length)).toEqual([3, 3]);
    await lookAtAll();
    await eventually(async () => expect(await left()).toEqual([]));
  });

  test("whose template names an upload that is not there is not made; one that is there is had by all its items", async () => {
    const batch = (upload: string) =>
      JSON.stringify({ template: { image: "busybox", command: ["{}"], upload: { id: upload } }, inputs: ["a", "b"] });
    const refused = await sendBatch("", "application/json", batch("upl_01k3q7v2m8r4t6w9x1z3b5c7d9"));
    expect(await refused.json()).toMatchObject({ status: 404, reason: "upload_not_found" });
    expect(await redis.keys(keys.batch("*"))).toEqual([]);
    const { id } = await made();
    const { id: batchId } = endOf(await readLines<Ack>(await sendBatch("", "application/json", batch(id))));
    await call("DELETE", `/v1/uploads/${id}`);
    const seen = await startReader();
    expect((await over(batchId)).counts).toMatchObject({ succeeded: 2 });
    expect(seen.map((files) => files.length)).toEqual([3, 3]);
  });

  test("of a call that is sent again, when its template's upload is there no more, is the batch of the first", async () => {
    const { id } = await made();
    const template = { image: "busybox", command: ["{}"], upload: { id } };
    const again = (key: string) =>
      call("POST", "/v1/batches", {
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ template, inputs: ["a", "b"] }),
      });
    const first = endOf(await readLines<Ack>(await again("once")));
    await call("DELETE", `/v1/uploads/${id}`);
    expect(endOf(await readLines<Ack>(await again("once"))).id).toBe(first.id);
    expect(await reasonOf(again("twice"))).toEqual([404, "upload_not_found"]);
    const seen = await startReader();
    expect((await over(first.id)).counts).toMatchObject({ total: 2, succeeded: 2 });
    expect(seen.map((files) => files.length)).toEqual([3, 3]);
    expect(endOf(await readLines<Ack>(await again("once"))).id).toBe(first.id);
  });

  test("whose template's upload is removed while it is made is made, and keeps it", async () => {
    const { id: upload } = await made();
    const batch = newBatchId();
    const make = async () => {
      await redis.hset(keys.batch(batch), "tenant", "acme");
      expect((await call("DELETE", `/v1/uploads/${upload}`)).status).toBe(204);
      return batch;
    };
    const isMade = async () => false;
    expect(await makeWithUpload(new UploadPins(redis), { tenant: "acme", upload }, { make, isMade })).toBe(batch);
    expect(await redis.zrange(keys.uploadUsers(upload), "0", "-1")).toContain(batch);
  });
});

/** Sends the beginning of an upload, and resolves when some of it is in Redis. */
async function beginUpload(beginning: Buffer, to: Gateway = gateway) {
  const { hostname, port } = new URL(to.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  const head = [
    "POST /v1/uploads HTTP/1.1",
    `host: ${hostname}:${port}`,
    `authorization: Bearer ${KEYS.acme}`,
    "content-type: application/x-tar",
    "content-length: 1100000",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  socket.write(beginning);
  await eventually(async () => expect(await redis.hlen(keys.uploadsOf("acme"))).toBe(1));
  return socket;
}
