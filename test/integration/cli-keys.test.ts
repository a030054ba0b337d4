// mayfly keys and mayfly tenants as users have them: a process, and a real gateway.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createClient } from "../../cli/client.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");
const OPERATOR = "the-operators-key";

let server: RedisServer;
let gateway: Gateway;
let directory: string;

beforeAll(async () => {
  server = await startRedis();
  gateway = await startGateway({ redisUrl: server.url, operators: { ops: OPERATOR } });
  directory = await mkdtemp(join(tmpdir(), "mayfly-cli-keys-"));
  await vi.waitFor(async () => expect((await gateway.fetch("/readyz")).status).toBe(200), { timeout: 10_000 });
});
afterAll(async () => {
  await gateway.stop();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const mayfly = (...args: string[]) => mayflyAs(OPERATOR, ...args);

async function mayflyAs(key: string, ...args: string[]): Promise<Ended> {
  const compiled = join(directory, "compiled");
  const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, MAYFLY_API_KEY: key, NODE_COMPILE_CACHE: compiled };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: "pipe" });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
  child.stdin.end();
  const [exitCode] = await once(child, "close");
  return { exitCode, ...text };
}

test("a key is made, used, listed, rotated and revoked", async () => {
  const made = await mayfly("keys", "create", "--tenant", "acme", "--scope", "submit,read", "--expires", "90d", "ci");
  expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^mayfly_[0-9a-z]{12}_[0-9a-z]{39}\n$/) });
  const id = /key_[0-9a-z]{12}/.exec(made.stderr)?.[0] ?? "";
  const key = made.stdout.trim();
  expect(made.stderr).toBe(`mayfly: ${id} of acme, shown this once\n`);
  expect(await mayflyAs(key, "ps")).toMatchObject({ exitCode: 0 });

  const refused = await mayflyAs(key, "keys", "ls");
  expect(refused).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("scope admin") });
  const listed = await mayfly("keys", "ls", "--tenant", "acme");
  expect(listed.stdout).toMatch(new RegExp(`^${id}  acme    ci    submit,read  \\d+s +(\\d+s|-) +89d23h$`, "m"));
  expect(listed.stdout).not.toContain(key);

  const rotated = await mayfly("keys", "rotate", "--overlap", "1h", id);
  expect(rotated.stderr).toMatch(
    new RegExp(`^mayfly: ${id} of acme, shown this once; the key from before is good until 20`),
  );
  for (const each of [key, rotated.stdout.trim()]) expect(await mayflyAs(each, "ps")).toMatchObject({ exitCode: 0 });

  expect(await mayfly("keys", "revoke", id)).toEqual({ exitCode: 0, stdout: `${id}\n`, stderr: "" });
  await vi.waitFor(async () => expect((await mayflyAs(key, "ps")).exitCode).toBe(1), { timeout: 15_000 });
  const again = await mayfly("keys", "revoke", id);
  expect(again).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining(`there is no key ${id}`) });
});

test("--json prints what the API has: the key once, and lists without it", async () => {
  const made = await mayfly("--json", "keys", "create", "--tenant", "acme", "--scope", "read", "ci");
  expect(made.stderr).toBe("");
  const { key, ...told } = JSON.parse(made.stdout);
  expect(key).toMatch(/^mayfly_/);
  expect(JSON.parse((await mayfly("keys", "ls", "--json")).stdout)).toEqual(told);
  expect(JSON.parse((await mayfly("keys", "revoke", "--json", told.id)).stdout)).toEqual({ id: told.id });
});

test("a tenant is set, inspected and listed", async () => {
  const set = await mayfly("tenants", "set", "--weight", "2", "--memory", "64g", "--rate", "0.5", "acme");
  expect(JSON.parse(set.stdout)).toEqual({ name: "acme", weight: 2, memory: "64GiB", rate: 0.5, keys: 0 });
  const unset = await mayfly("tenants", "set", "--rate", "none", "--queued", "0", "--json", "acme");
  expect(JSON.parse(unset.stdout)).toEqual({ name: "acme", weight: 2, memory: "64GiB", queued: 0, keys: 0 });
  expect((await mayfly("tenants", "inspect", "acme", "--json")).stdout).toBe(unset.stdout);
  const { stdout } = await mayfly("tenants", "ls");
  expect(stdout).toMatch(
    /^TENANT {2}WEIGHT {2}RUNNING {2}QUEUED {2}CPUS {2}MEMORY {2}RATE {2}BURST {2}KEYS\nacme {4}2 {7}- {8}0 /,
  );
  expect(await mayfly("tenants", "set", "--weight", "0", "acme")).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("weight is less than 1"),
  });
});

test("the client goes through all pages", async () => {
  const client = createClient({ url: gateway.url, apiKey: OPERATOR });
  for (let i = 0; i < 101; i++) await client.tenants.set(`t${i}`, { running: 1 });
  const names: string[] = [];
  for await (const { name } of client.tenants.list()) names.push(name);
  expect(names.filter((name) => /^t\d+$/.test(name))).toHaveLength(101);
});
