// Artifacts on their way from the sandbox to HTTP, through the real executor, Redis and a gateway. What comes out of the sandbox is
// written here, the hostile as well.

import { createHash, randomBytes } from "node:crypto";
import { PassThrough } from "node:stream";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ArtifactList } from "../../core/artifacts.ts";
import { MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import type { Run } from "../../core/run.ts";
import { readTar } from "../../core/tar-reader.ts";
import { ArtifactStore } from "../../worker/artifact-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, type FakeHostOptions, startFakeHost } from "../helpers/fake-host.ts";
import { exited } from "../helpers/fake-sandbox.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { type TarEntry, tar } from "../helpers/tar-builder.ts";

const LEFT_OUT = "/left-out";
const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");

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

async function submit(request: object = { artifacts: { paths: ["/out/**"] } }): Promise<string> {
  const response = await gateway.fetch("/v1/runs", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ image: "busybox", ...request }),
  });
  expect(response.ok, await response.clone().text()).toBe(true); // 202, or 200 of a run that is over already.
  return ((await response.json()) as Run).id;
}

const finished = async (id: string): Promise<Run> =>
  (await (await gateway.fetch(`/v1/runs/${id}`, { headers: { prefer: "wait=20" } })).json()) as Run;

const ask = (id: string, rest = "", headers: Record<string, string> = {}) =>
  gateway.fetch(`/v1/runs/${id}/artifacts${rest}`, { headers });

/** A host whose programs leave these bytes, and then end. */
const leaving = (bytes: Buffer, options: Partial<FakeHostOptions> = {}): Promise<FakeHost> =>
  startFakeHost({
    redisUrl: server.url,
    program: (sandbox) => {
      sandbox.artifacts = new PassThrough();
      sandbox.collect();
      sandbox.artifacts.end(bytes, () => sandbox.end());
    },
    ...options,
  });

const summary = (text: string): TarEntry => ({ path: LEFT_OUT, content: text });
const NOTHING_LEFT = summary("0 0 0\n");

/** Of one run that has left these entries. */
async function leftBy(entries: readonly TarEntry[], request?: object): Promise<{ id: string; run: Run }> {
  host = await leaving(tar(entries));
  const id = await submit(request);
  return { id, run: await finished(id) };
}

const listed = async (id: string): Promise<ArtifactList> => (await (await ask(id)).json()) as ArtifactList;
const paths = async (id: string) => (await listed(id)).artifacts.map(({ path }) => path);

describe("what a run has left", () => {
  const big = randomBytes(700_001);
  const long = `out/${"deep/".repeat(60)}é ☃.txt`;
  const entries: TarEntry[] = [
    { path: "out/b.bin", content: big, mode: 0o751, modified: 981_173_106 },
    { path: "ignored", pax: { path: long }, content: "deep down" },
    { path: "out/empty" },
    summary("2 5000 0\n"),
  ];

  test("is told in its record, listed with all that is known of it, and read by path", async () => {
    const { id, run } = await leftBy(entries);
    const facts = { files: 3, bytes: big.length + 9, truncated: { files: 2, bytes: 5000 } };
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(run.artifacts).toEqual(facts);
    expect(await listed(id)).toEqual({
      ...facts,
      artifacts: [
        {
          path: "/out/b.bin",
          bytes: big.length,
          mode: "0751",
          modified: "2001-02-03T04:05:06.000Z",
          sha256: sha256(big),
        },
        { path: `/${long}`, bytes: 9, mode: "0644", modified: "1970-01-01T00:00:00.000Z", sha256: sha256("deep down") },
        { path: "/out/empty", bytes: 0, mode: "0644", modified: "1970-01-01T00:00:00.000Z", sha256: sha256("") },
      ],
    });
    const deep = await ask(id, `/${long.split("/").map(encodeURIComponent).join("/")}`);
    expect(await deep.text()).toBe("deep down");
    expect(deep.headers.get("content-disposition")).toBe(
      `attachment; filename="___.txt"; filename*=UTF-8''%C3%A9%20%E2%98%83.txt`,
    );
    const whole = await ask(id, "/out/b.bin");
    expect(Buffer.from(await whole.arrayBuffer()).equals(big)).toBe(true);
    expect(Object.fromEntries(whole.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "x-content-type-options": "nosniff",
      "content-length": String(big.length),
      etag: `"${sha256(big)}"`,
      "last-modified": "Sat, 03 Feb 2001 04:05:06 GMT",
    });
    expect([(await ask(id, "/out/empty")).status, await (await ask(id, "/out/empty")).text()]).toEqual([200, ""]);
  });

  test("is answered as one tar that any reader takes", async () => {
    const { id } = await leftBy([entries[0] ?? NOTHING_LEFT, { path: "out/x", content: "x" }, NOTHING_LEFT]);
    const response = await ask(id, "", { accept: "application/x-tar" });
    const bytes = Buffer.from(await response.arrayBuffer());
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/x-tar"]);
    expect(response.headers.get("content-length")).toBe(String(bytes.length));
    const rules = { maxEntries: 10, broken: (what: string) => new Error(what), tooMany: () => new Error("many") };
    const read: unknown[] = [];
    const archive = (async function* () {
      yield bytes;
    })();
    for await (const { name, mode, size, modifiedMs } of readTar(archive, rules))
      read.push([name, mode, size, modifiedMs]);
    expect(read).toEqual([
      ["out/b.bin", 0o751, big.length, 981_173_106_000],
      ["out/x", 0o644, 1, 0],
    ]);
  });

  test("is answered in ranges, and not again to whoever has it", async () => {
    const { id } = await leftBy([{ path: "out/x", content: "0123456789" }, NOTHING_LEFT]);
    const range = async (value: string, more: Record<string, string> = {}) => {
      const response = await ask(id, "/out/x", { range: value, ...more });
      return [
        response.status,
        response.headers.get("content-range"),
        response.status < 300 ? await response.text() : "",
      ];
    };
    expect(await range("bytes=2-4")).toEqual([206, "bytes 2-4/10", "234"]);
    expect(await range("bytes=7-")).toEqual([206, "bytes 7-9/10", "789"]);
    expect(await range("bytes=-3")).toEqual([206, "bytes 7-9/10", "789"]);
    expect(await range("bytes=8-99")).toEqual([206, "bytes 8-9/10", "89"]);
    expect(await range("bytes=10-")).toEqual([416, "bytes */10", ""]);
    expect(await range("bytes=-0")).toEqual([416, "bytes */10", ""]);
    expect(await range("lines=1-2")).toEqual([200, null, "0123456789"]);
    const etag = `"${sha256("0123456789")}"`;
    expect(await range("bytes=2-4", { "if-range": etag })).toEqual([206, "bytes 2-4/10", "234"]);
    expect(await range("bytes=2-4", { "if-range": '"another"' })).toEqual([200, null, "0123456789"]);
    expect((await ask(id, "/out/x", { "if-none-match": `"a", W/${etag}` })).status).toBe(304);
    const head = await gateway.fetch(`/v1/runs/${id}/artifacts/out/x`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "10", ""]);
  });

  test("is not there before the run has ended, nor of a run that asked for none, nor under another name", async () => {
    const waiting = await submit();
    const reason = async (response: Response) => [
      response.status,
      ((await response.json()) as { reason: string }).reason,
    ];
    expect(await reason(await ask(waiting))).toEqual([409, "run_not_finished"]);
    expect(await reason(await ask(waiting, "/out/x"))).toEqual([409, "run_not_finished"]);
    const without = await submit({});
    expect(await reason(await ask(without))).toEqual([404, "artifact_not_found"]);
    await gateway.fetch(`/v1/runs/${waiting}/cancel`, { method: "POST" });
    expect(await reason(await ask(waiting))).toEqual([404, "artifact_not_found"]);
    expect(await reason(await ask("run_01k3zq5w7h8m2n4p6r8t0v2x4z", "/x"))).toEqual([404, "run_not_found"]);
    const { id } = await leftBy([{ path: "out/x" }, NOTHING_LEFT]);
    for (const other of [`${id}:stdout`, `${id}%3Aartifacts`, "x"])
      expect(await reason(await ask(other, "/out/x"))).toEqual([404, "run_not_found"]);
    expect(await reason(await ask(id, "/out/y"))).toEqual([404, "artifact_not_found"]);
    expect(await reason(await ask(id, "/%00"))).toEqual([404, "artifact_not_found"]);
  });

  test("goes with the run, when it is removed and when its retention is over", async () => {
    const { id } = await leftBy([{ path: "out/x", content: "x" }, NOTHING_LEFT]);
    const kept = () => redis.exists(keys.artifacts(id), keys.artifactTar(id));
    expect(await kept()).toBe(2);
    expect((await gateway.fetch(`/v1/runs/${id}`, { method: "DELETE" })).status).toBe(204);
    expect(await kept()).toBe(0);
    const second = await submit();
    await finished(second);
    await redis.zadd(keys.finished, 0, second);
    await eventually(async () => expect(await redis.keys(`${keys.run(second)}*`)).toEqual([]));
  });
});

describe("a run that asks for artifacts", () => {
  test("has its sandbox told so, with what holds if nothing is said", async () => {
    await leftBy([NOTHING_LEFT]);
    expect(host?.specs[0]?.artifacts).toEqual({ patterns: ["/out/**"], maxFiles: 1000, maxBytes: 4 * 2 ** 20 });
  });

  test.each([
    [{ paths: [] }, "artifacts.paths"],
    [{ paths: ["out"] }, "artifacts.paths.0"],
    [{ paths: ["/out/../etc"] }, "artifacts.paths.0"],
    [{ paths: ["/out", "/out//x"] }, "artifacts.paths.1"],
    [{ paths: [`/${"x".repeat(1023)}`] }, "artifacts.paths.0"],
    [{ paths: ["/x".repeat(64)] }, "artifacts.paths.0"],
    [{ paths: Array.from({ length: 33 }, (_, i) => `/${i}`) }, "artifacts.paths"],
    [{ paths: ["/out"], max: "17MiB" }, "artifacts.max"],
    [{ paths: ["/out"], files: 3 }, "artifacts.files"],
  ])("for what cannot be is refused, and the field is named: $1", async (artifacts, field) => {
    const body = JSON.stringify({ image: "busybox", artifacts });
    const headers = { "content-type": "application/json" };
    const response = await gateway.fetch("/v1/runs", { method: "POST", headers, body });
    const problem = (await response.json()) as { errors: { field: string }[] };
    expect([response.status, problem.errors[0]?.field]).toEqual([400, field]);
  });

  test("may be asked for by a URL alone", async () => {
    host = await leaving(tar([{ path: "out/x", content: "x" }, NOTHING_LEFT]));
    const response = await gateway.fetch("/v1/run/busybox?artifact=/out/*&artifact=/x", { method: "POST" });
    expect(host.specs[0]?.artifacts?.patterns).toEqual(["/out/*", "/x"]);
    expect(await paths(response.headers.get("mayfly-run-id") ?? "")).toEqual(["/out/x"]);
  });

  test("ends as its program has ended, whatever comes out of its sandbox", async () => {
    const broken = [
      Buffer.from("not a tar at all".repeat(100)),
      tar([{ path: "out/x", content: "x".repeat(5000) }]).subarray(0, 2000),
      tar([{ path: "out/dev", type: "character", device: { major: 1, minor: 3 } }]),
      Buffer.alloc(0),
    ];
    for (const bytes of broken) {
      host = await startFakeHost({
        redisUrl: server.url,
        program: (sandbox) => {
          sandbox.artifacts = new PassThrough();
          sandbox.artifacts.end(bytes, () => sandbox.end(exited(3)));
        },
      });
      const run = await finished(await submit());
      expect(run.outcome).toEqual({ kind: "exited", exitCode: 3 });
      expect(run.artifacts).toEqual({ files: 0, bytes: 0, truncated: { files: 0, bytes: 0, more: true } });
      await host.stop();
    }
  });

  test("keeps what came whole of a stream that breaks off, and says that there may be more", async () => {
    const bytes = tar([
      { path: "out/a", content: "whole" },
      { path: "out/b", content: randomBytes(900_000) },
    ]);
    host = await leaving(bytes.subarray(0, 700_000));
    const id = await submit();
    const run = await finished(id);
    expect(run.artifacts).toEqual({ files: 1, bytes: 5, truncated: { files: 0, bytes: 0, more: true } });
    expect(await paths(id)).toEqual(["/out/a"]);
    const whole = Buffer.from(await (await ask(id, "", { accept: "application/x-tar" })).arrayBuffer());
    expect(whole.length).toBe(512 + 512 + 1024);
  });

  test("drops a file that PID 1 calls void, and counts what it was told of it", async () => {
    const { id, run } = await leftBy([
      { path: "out/a", content: "a" },
      { path: "out/bad", content: "\0".repeat(10) },
      { path: "/void" },
      { path: "out/c", content: "c" },
      summary("1 10 0\n"),
    ]);
    expect(run.artifacts).toEqual({ files: 2, bytes: 2, truncated: { files: 1, bytes: 10 } });
    expect(await paths(id)).toEqual(["/out/a", "/out/c"]);
    expect(await (await ask(id, "/out/c")).text()).toBe("c");
  });

  test("has no file of a date that is none", async () => {
    const { id } = await leftBy([{ path: "out/late", modified: 9e12, binaryNumbers: true }, NOTHING_LEFT]);
    const { artifacts } = await listed(id);
    expect(artifacts.map(({ modified }) => modified)).toEqual(["2242-03-16T12:56:31.000Z"]);
    expect((await ask(id, "/out/late")).headers.get("last-modified")).toBe("Wed, 16 Mar 2242 12:56:31 GMT");
  });

  test("is not listened to any longer by who has too many voids", async () => {
    const pairs = Array.from({ length: 17 }, (_, i) => [{ path: `out/${i}`, content: "\0" }, { path: "/void" }]);
    const { id, run } = await leftBy([
      { path: "out/a", content: "a" },
      ...pairs.flat(),
      { path: "out/c", content: "c" },
      NOTHING_LEFT,
    ]);
    expect(await paths(id)).toEqual(["/out/a"]);
    expect(run.artifacts?.truncated?.more).toBe(true);
  });

  test("is given no file by a name that leads elsewhere, nor twice, nor what is no file, nor more than it asked for", async () => {
    const { id, run } = await leftBy(
      [
        { path: "../up", content: "1" },
        { path: "/abs", content: "1" },
        { path: "out/../../up", content: "1" },
        { path: "out//x", content: "1" },
        { path: "out/./x", content: "1" },
        { path: "out/dir/" },
        { path: "out/link", type: "symlink", linkTarget: "/etc/passwd" },
        { path: "out/ok", content: "first" },
        { path: "out/ok", content: "second" },
        { path: "out/much", content: "x".repeat(2000) },
        { path: "out/fits", content: "y".repeat(1000) },
        NOTHING_LEFT,
      ],
      { artifacts: { paths: ["/out"], max: "1KiB" } },
    );
    expect(await paths(id)).toEqual(["/out/fits", "/out/ok"]);
    expect(await (await ask(id, "/out/ok")).text()).toBe("first");
    expect(run.artifacts?.truncated).toEqual({ files: 9, bytes: 5 + 6 + 2000 });
  });

  test("has none of its old ones when it is tried again", async () => {
    let attempts = 0;
    host = await startFakeHost({
      redisUrl: server.url,
      program: (sandbox) => {
        attempts++;
        const bytes = tar([{ path: `out/of-attempt-${attempts}`, content: "x" }, NOTHING_LEFT]);
        sandbox.artifacts = new PassThrough();
        sandbox.artifacts.end(bytes, () => sandbox.end(exited(attempts === 1 ? 1 : 0)));
      },
    });
    const retry = { attempts: 2, backoff: { initial: "100ms" } };
    const id = await submit({ artifacts: { paths: ["/out"] }, retry });
    const run = await finished(id);
    expect([run.attempt, run.artifacts]).toEqual([2, { files: 1, bytes: 1 }]);
    expect(await paths(id)).toEqual(["/out/of-attempt-2"]);
  });
});

describe("of artifacts that nobody is told of nothing stays", () => {
  const bytes = tar([{ path: "out/x", content: randomBytes(700_000) }, NOTHING_LEFT]);
  const stored = (id: string) => redis.exists(keys.artifactTar(id), keys.artifacts(id));

  test("when they cannot be sealed", async () => {
    host = await startFakeHost({
      redisUrl: server.url,
      program: (sandbox) => {
        sandbox.artifacts = new PassThrough();
        sandbox.collect();
        sandbox.artifacts.write(bytes.subarray(0, 600_000));
        void eventually(async () => {
          const [name] = await redis.keys("*:artifact-tar");
          if (name === undefined) throw new Error("nothing is stored yet");
          await redis.append(name, "what is not the worker's");
        }).then(() => sandbox.artifacts?.end(bytes.subarray(600_000), () => sandbox.end()));
      },
    });
    const id = await submit();
    const run = await finished(id);
    expect([run.outcome?.kind, run.artifacts, await stored(id)]).toEqual(["exited", undefined, 0]);
  });

  test("when the sandbox is lost after some have come", async () => {
    host = await startFakeHost({
      redisUrl: server.url,
      program: (sandbox) => {
        sandbox.artifacts = new PassThrough();
        sandbox.artifacts.write(bytes.subarray(0, 600_000));
        void eventually(async () => expect(await redis.keys("*:artifact-tar")).toHaveLength(1)).then(() =>
          sandbox.lose(new MayflyError("image_unsupported", "it cannot run")),
        );
      },
    });
    const id = await submit();
    const run = await finished(id);
    expect([run.outcome?.kind, run.artifacts, await stored(id)]).toEqual(["rejected", undefined, 0]);
  });
});

describe("an attempt that is over", () => {
  test("stores no artifacts, and takes none away", async () => {
    const { id } = await leftBy([{ path: "out/x", content: "x" }, NOTHING_LEFT]);
    const held = await redis.hgetall(keys.run(id));
    const before = await redis.getBuffer(keys.artifactTar(id));
    const late = new ArtifactStore(redis, { id, attempt: 1 }, held.holder ?? "a holder of before");
    await late.append(before?.length ?? 0, Buffer.from("late"));
    await late.cut(0);
    await late.seal(0, new Map(), { files: 0, bytes: 0 });
    expect(await redis.getBuffer(keys.artifactTar(id))).toEqual(before);
    expect(await redis.hgetall(keys.run(id))).toEqual(held);
  });

  test("is fenced by attempt and by holder while another one runs", async () => {
    let go = () => {};
    host = await startFakeHost({
      redisUrl: server.url,
      program: (sandbox) => {
        sandbox.artifacts = new PassThrough();
        go = () =>
          void sandbox.artifacts?.end(tar([{ path: "out/x", content: "x" }, NOTHING_LEFT]), () => sandbox.end());
      },
    });
    const id = await submit();
    await eventually(async () => expect(await redis.hget(keys.run(id), "state")).toBe("running"));
    const holder = (await redis.hget(keys.run(id), "holder")) ?? "";
    for (const [attempt, by] of [
      [2, holder],
      [1, "another"],
    ] as const) {
      const stranger = new ArtifactStore(redis, { id, attempt }, by);
      await stranger.append(0, Buffer.from("strange"));
      await stranger.seal(7, new Map(), { files: 7, bytes: 7 });
    }
    expect(await redis.exists(keys.artifactTar(id))).toBe(0);
    go();
    expect((await finished(id)).artifacts).toEqual({ files: 1, bytes: 1 });
  });
});
