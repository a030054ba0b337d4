// Secrets, from the operator to the program's environment, through a real gateway, a real Redis and the real executor. All that Redis is ever
// told is listened to, and with all that it keeps and all logs searched for the value.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keys } from "../../core/keys.ts";
import { createLog } from "../../core/log.ts";
import type { Run } from "../../core/run.ts";
import { type Keyring, parseKeyring } from "../../core/secret.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, startFakeHost } from "../helpers/fake-host.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const VALUE = "hunter2-with-a-long-tail-that-is-looked-for";
/** As it may stand somewhere: in the clear, in JSON, in base 64 at each of three offsets. */
const FORMS = [
  VALUE,
  ...[0, 1, 2].map((shift) =>
    Buffer.from("x".repeat(shift) + VALUE)
      .toString("base64")
      .slice(4, -8),
  ),
  Buffer.from(VALUE).toString("hex"),
];

let server: RedisServer;
let redis: Redis;
let monitor: Redis;
let gateway: Gateway;
let directory: string;
let keyring: Keyring | undefined;
let host: FakeHost | undefined;
const heard: string[] = [];
const hostLog: string[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  monitor = await new Redis(server.url).monitor();
  monitor.on("monitor", (_, args: string[]) => heard.push(args.join(" ")));
  directory = await mkdtemp(join(tmpdir(), "mayfly-secrets-"));
  const text = `k1 ${randomBytes(32).toString("base64")}\n`;
  await writeFile(join(directory, "keys"), text, { mode: 0o600 });
  keyring = parseKeyring(text);
  gateway = await startGateway({
    redisUrl: server.url,
    keys: { acme: "key-a", other: "key-o" },
    operators: { ops: "key-op" },
    env: { MAYFLY_SECRETS_KEY_FILE: join(directory, "keys") },
  });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).not.toBe(500));
});

beforeEach(async () => {
  await redis.flushall();
});

afterEach(async () => {
  await host?.stop();
  host = undefined;
});

afterAll(async () => {
  await gateway.stop();
  for (const client of [redis, monitor]) client.disconnect();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

const call = (method: string, path: string, body?: unknown, key = "key-op", headers: Record<string, string> = {}) =>
  gateway.fetch(path, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
const set = (path: string, value: string) => call("PUT", `/v1/secrets/${path}`, { value });
const submit = (request: object, key = "key-a", seconds = 20) =>
  call("POST", "/v1/runs", { image: "busybox", ...request }, key, { prefer: `wait=${seconds}` });

async function work(options: { keyring?: Keyring | undefined } = { keyring }): Promise<FakeHost> {
  const log = createLog({}, (line) => void hostLog.push(line));
  const ring = options.keyring === undefined ? {} : { keyring: options.keyring };
  host = await startFakeHost({ redisUrl: server.url, program: (sandbox) => sandbox.end(), log, ...ring });
  return host;
}

/** All that Redis keeps, as text. */
async function kept(): Promise<string> {
  const parts: string[] = [];
  for (const key of await redis.keys("*")) {
    const type = await redis.type(key);
    if (type === "hash") parts.push(key, JSON.stringify(await redis.hgetall(key)));
    else if (type === "string") parts.push(key, (await redis.get(key)) ?? "");
    else if (type === "zset") parts.push(key, (await redis.zrange(key, "0", "-1")).join(" "));
    else if (type === "set") parts.push(key, (await redis.smembers(key)).join(" "));
    else parts.push(key, JSON.stringify(await redis.lrange(key, 0, -1).catch(() => "")));
  }
  return parts.join("\n");
}

function expectNowhere(...texts: string[]): void {
  for (const text of texts) for (const form of FORMS) expect(text.includes(form)).toBe(false);
}

describe("a secret", () => {
  test("is in the program's environment, and nowhere else: not in Redis, not in what Redis was told, not in answers, not in logs", async () => {
    const { specs } = await work();
    const answers = [await (await set("token?tenant=acme", VALUE)).text()];
    const response = await submit({ secretEnv: { TOKEN: "token" }, env: { PLAIN: "seen" } });
    answers.push(await response.text());
    expect(response.status).toBe(200);
    expect(specs[0]?.env).toEqual(["PLAIN=seen", `TOKEN=${VALUE}`]);
    const { id } = JSON.parse(answers[1] ?? "") as Run;
    for (const path of ["/v1/secrets", "/v1/runs", `/v1/runs/${id}`, `/v1/runs/${id}/events`])
      answers.push(await (await call("GET", path, undefined, path === "/v1/secrets" ? "key-op" : "key-a")).text());
    const logs = JSON.stringify(gateway.log);
    expect(logs).toContain(id);
    expect(hostLog.join("\n")).toContain(id);
    expect(heard.join("\n")).toContain(id);
    expect(await kept()).toContain("k1.");
    expectNowhere(...answers, logs, hostLog.join("\n"), heard.join("\n"), await kept());
  });

  test("that is set wrong is told to nobody either", async () => {
    const bad = [
      { value: `${VALUE}\0` },
      { value: VALUE.repeat(1_000) },
      { value: VALUE, more: 1 },
      { value: [VALUE] },
      `{"value": "${VALUE}"`,
      `"${VALUE}"`,
    ];
    for (const body of bad) {
      const response = await call("PUT", "/v1/secrets/token", body);
      expect(response.status).toBe(400);
      expectNowhere(await response.text());
    }
    expectNowhere(JSON.stringify(gateway.log), await kept());
    expect(await redis.zcard(keys.secrets)).toBe(0);
  });

  test("is listed by its name, set again, and removed, by operators alone", async () => {
    expect(await (await set("b", "1")).json()).toEqual({ name: "b", changedAt: expect.any(String) });
    await set("a?tenant=acme", "1");
    await set("a?tenant=acme", "2");
    const list = async (query = "") => (await (await call("GET", `/v1/secrets${query}`)).json()) as object;
    expect(await list()).toEqual({
      secrets: [
        { name: "b", changedAt: expect.any(String) },
        { name: "a", tenant: "acme", changedAt: expect.any(String) },
      ],
    });
    expect(await list("?tenant=acme")).toMatchObject({ secrets: [{ name: "a" }] });
    const { next } = (await list("?limit=1")) as { next: string };
    expect(await list(`?limit=1&cursor=${encodeURIComponent(next)}`)).toMatchObject({ secrets: [{ name: "a" }] });
    for (const [method, path] of [
      ["GET", ""],
      ["PUT", "/b"],
      ["DELETE", "/b"],
    ] as const)
      expect(
        (await call(method, `/v1/secrets${path}`, method === "PUT" ? { value: "x" } : undefined, "key-a")).status,
      ).toBe(403);
    expect((await call("GET", "/v1/secrets/b")).status).toBe(404); // There is no way to read one.
    expect((await call("DELETE", "/v1/secrets/b")).status).toBe(204);
    expect((await call("DELETE", "/v1/secrets/b")).status).toBe(404);
    expect(await list()).toMatchObject({ secrets: [{ name: "a" }] });
    expect(await redis.keys(keys.sealed("*"))).toEqual([keys.sealed("acme:a")]);
  });

  test("of a tenant stands before one for all, and is not there for another tenant", async () => {
    const { specs } = await work();
    await set("token", "for-all");
    await set("token?tenant=acme", "for-acme");
    await set("own?tenant=acme", "for-acme");
    await submit({ secretEnv: { T: "token" } });
    await submit({ secretEnv: { T: "token" } }, "key-o");
    expect(specs.map(({ env }) => env)).toEqual([["T=for-acme"], ["T=for-all"]]);
    expect((await submit({ secretEnv: { T: "own" } }, "key-o")).status).toBe(400);
  });

  test("is one of so many at most", async () => {
    await redis.zadd(keys.secrets, ...Array.from({ length: 1_000 }, (_, i) => [0, `* s${i}`]).flat());
    expect((await set("token", "x")).status).toBe(409);
    expect((await set("token?tenant=acme", "x")).status).toBe(200);
  });
});

describe("a run that names a secret", () => {
  test("that is not there is refused, and the variable is named", async () => {
    await set("there", "x");
    const response = await submit({ secretEnv: { A: "there", TOKEN: "token" } });
    const problem = (await response.json()) as { reason: string; errors: { field: string }[] };
    expect([response.status, problem.reason, problem.errors[0]?.field]).toEqual([
      400,
      "invalid_field",
      "secretEnv.TOKEN",
    ]);
    expect(await redis.keys(keys.run("*"))).toEqual([]);
  });

  test.each([
    [{ secretEnv: { A: "token" }, env: { A: "x" } }, "secretEnv.A"],
    [{ secretEnv: { "1A": "token" } }, "secretEnv.1A"],
    [{ secretEnv: { A: "../token" } }, "secretEnv.A"],
    [{ secretEnv: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`A${i}`, "token"])) }, "secretEnv"],
  ])("in an impossible way is refused: %j", async (request, field) => {
    const response = await submit(request);
    const problem = (await response.json()) as { errors: { field: string }[] };
    expect([response.status, problem.errors[0]?.field]).toEqual([400, field]);
  });

  test("that has gone meanwhile is rejected when it starts", async () => {
    await set("token", VALUE);
    const { id } = (await (await submit({ secretEnv: { TOKEN: "token" } }, "key-a", 0)).json()) as Run;
    await call("DELETE", "/v1/secrets/token");
    const { specs } = await work();
    const run = (await (await call("GET", `/v1/runs/${id}`, undefined, "key-a", { prefer: "wait=20" })).json()) as Run;
    expect(run.outcome).toEqual({ kind: "rejected", code: "secret_not_found", message: "there is no secret token" });
    expect(specs).toEqual([]);
  });

  test("is rejected by a host that lacks the key, or finds another secret in its place", async () => {
    await set("token", VALUE);
    await set("other", "x");
    await work({ keyring: undefined });
    const outcome = async () => ((await (await submit({ secretEnv: { T: "token" } })).json()) as Run).outcome;
    expect(await outcome()).toMatchObject({ kind: "rejected", code: "secret_unreadable" });
    await host?.stop();
    await work();
    await redis.copy(keys.sealed("*:other"), keys.sealed("*:token"), "REPLACE");
    expect(await outcome()).toMatchObject({ kind: "rejected", code: "secret_unreadable" });
  });
});

test("without a file of keys no secret is taken", async () => {
  const open = await startGateway({ redisUrl: server.url });
  await eventually(async () => expect((await open.fetch("/readyz")).status).not.toBe(500));
  const response = await open.fetch("/v1/secrets/token", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ value: VALUE }),
  });
  expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([409, "secrets_disabled"]);
  await open.stop();
});

test("the command line sets one from stdin, lists names and removes it; a run is given it by --secret-env", async () => {
  const { specs } = await work();
  const mayfly = async (key: string, args: string[], stdin = "") => {
    const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, MAYFLY_API_KEY: key };
    const child = spawn(process.execPath, [CLI, ...args], { env, stdio: "pipe" });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
    child.stdin.end(stdin);
    const [exitCode] = await once(child, "close");
    return { exitCode, ...text };
  };
  const made = await mayfly("key-op", ["secrets", "set", "--tenant", "acme", "token"], `${VALUE}\n`);
  expect(made).toEqual({ exitCode: 0, stdout: "token\n", stderr: "" });
  expect((await mayfly("key-op", ["secrets", "ls"])).stdout).toMatch(/^NAME +TENANT +CHANGED\ntoken +acme +\d+s\n$/);
  expect(await mayfly("key-a", ["run", "--secret-env", "TOKEN=token", "busybox"])).toMatchObject({ exitCode: 0 });
  expect(specs.at(-1)?.env).toEqual([`TOKEN=${VALUE}`]);
  expect(await mayfly("key-op", ["secrets", "set", "token"])).toMatchObject({ exitCode: 2 });
  expect(await mayfly("key-op", ["secrets", "rm", "--tenant", "acme", "token"])).toMatchObject({ exitCode: 0 });
  expect(await mayfly("key-op", ["secrets", "rm", "token"])).toMatchObject({ exitCode: 1 });
});
