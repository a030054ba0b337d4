// mayfly ps, rm, cancel and dead-letters as users have them: a process, a real gateway, and a worker whose program always fails.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../../cli/client.ts";
import type { RunRequest } from "../../core/request.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");

let server: RedisServer;
let gateway: Gateway;
let worker: FakeWorker;
let directory: string;

beforeAll(async () => {
  server = await startRedis();
  gateway = await startGateway({ redisUrl: server.url, env: { MAYFLY_POOLS: "default,empty" } });
  directory = await mkdtemp(join(tmpdir(), "mayfly-cli-runs-"));
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
  worker = await startFakeWorker({ redisUrl: server.url, behave: (attempt) => attempt.exit(1) });
});
afterAll(async () => {
  await worker.stop();
  await gateway.stop();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

async function mayfly(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, NODE_COMPILE_CACHE: join(directory, "compiled") };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: "pipe" });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
  child.stdin.end();
  const [exitCode] = await once(child, "close");
  return { exitCode, ...text };
}

const client = () => createClient({ url: gateway.url });
const failed = async (request: Partial<RunRequest> = {}) =>
  (await client().createRun({ image: "busybox", retry: { attempts: 1 }, ...request }, { waitSeconds: 60 })).id;

test("ps shows what the filters let through, in whatever state, and whose it is to who asks for everybody's", async () => {
  const [one, other] = [
    await failed({ labels: { build: "1" } }),
    await failed({ image: "alpine", labels: { build: "2" } }),
  ];
  const ids = async (...flags: string[]) => (await mayfly("ps", ...flags)).stdout.match(/run_\w+/g);
  expect(await ids("-f", "label=build=1")).toEqual([one]);
  expect(await ids("--filter", "image=alpine", "--filter", "state=finished")).toEqual([other]);
  expect(await ids("--filter", "label=build=1", "--filter", "label=build=2")).toBeNull();
  expect(await ids("--since", "1h")).toEqual([other, one]);
  expect((await mayfly("ps", "-a", "--all-tenants")).stdout).toMatch(
    new RegExp(`^ID +TENANT +IMAGE[^]*${one} +default`),
  );
  expect(await mayfly("ps", "--filter", "colour=red")).toMatchObject({ exitCode: 2, stdout: "" });
});

test("rm forgets what has finished, and tells of what has not", async () => {
  const [over, waits] = [await failed(), (await client().createRun({ image: "busybox", pool: "empty" })).id];
  const { exitCode, stdout, stderr } = await mayfly("rm", over, waits);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: `${over}\n` });
  expect(stderr).toContain("cancel it first");
  expect(await mayfly("cancel", "--force", waits)).toMatchObject({ exitCode: 0, stdout: `${waits}\n` });
  expect(await mayfly("rm", waits)).toMatchObject({ exitCode: 0 });
  expect(await mayfly("inspect", over)).toMatchObject({ exitCode: 1 });
});

test("dead letters are listed, run again by id and all at once, and taken off the list", async () => {
  for (const { id } of (await client().deadLetters.list()).runs) await client().deadLetters.dismiss(id);
  const ids = [await failed(), await failed(), await failed()];
  const listed = async () => (await mayfly("dead-letters", "ls")).stdout.match(/run_\w+/g);
  expect(await listed()).toEqual(ids.toReversed());
  const [first = "", second = "", third = ""] = ids;
  expect(await mayfly("dead-letters", "rm", first)).toMatchObject({ exitCode: 0, stdout: `${first}\n` });
  await worker.stop(); // What is run again does not come back to the list.
  const again = (await mayfly("dead-letters", "retry", second)).stdout.trim();
  expect(await client().getRun(again)).toMatchObject({ retriedFrom: second, state: "queued" });
  const all = JSON.parse((await mayfly("--json", "dead-letters", "retry", "--all")).stdout);
  expect(all.deadLetter).toBe(third);
  expect(await listed()).toBeNull();
  expect(await mayfly("dead-letters", "retry", third)).toMatchObject({ exitCode: 1 });
});
