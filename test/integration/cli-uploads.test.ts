// mayfly upload, uploads, run --upload and run --file as users have them: a process, a real gateway, and the real executor.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createClient } from "../../cli/client.ts";
import { Mayfly } from "../../cli/library.ts";
import { writeTar } from "../../core/tar-writer.ts";
import type { SandboxSpec } from "../../runtime/index.ts";
import { wholeOf } from "../helpers/archive.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, startFakeHost } from "../helpers/fake-host.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { tar } from "../helpers/tar-builder.ts";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let host: FakeHost;
let directory: string;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url, env: { MAYFLY_MAX_UPLOAD: "2MiB" } });
  directory = await mkdtemp(join(tmpdir(), "mayfly-cli-uploads-"));
  host = await startFakeHost({ redisUrl: server.url, program: (sandbox, spec) => void list(sandbox, spec) });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});
beforeEach(async () => {
  await rm(join(directory, "src"), { recursive: true, force: true });
  await mkdir(join(directory, "src/deep"), { recursive: true });
  await writeFile(join(directory, "src/deep/a"), "hello");
  await writeFile(join(directory, "src/tool"), "#!/bin/sh\n", { mode: 0o755 });
});
afterAll(async () => {
  await host.stop();
  await gateway.stop();
  redis.disconnect();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

/** A program that tells what it has found. */
async function list(sandbox: FakeHost["sandboxes"][number], spec: SandboxSpec): Promise<void> {
  for await (const { path, mode, content } of spec.streamed ?? [])
    sandbox.stdout.write(`${path} ${mode.toString(8)} ${await wholeOf(content)}\n`);
  for (const { path, mode, content } of spec.files ?? [])
    sandbox.stdout.write(`${path} ${mode.toString(8)} ${Buffer.from(content)}\n`);
  sandbox.end();
}

async function mayfly(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, NODE_COMPILE_CACHE: join(directory, "compiled") };
  const child = spawn(process.execPath, [MAIN, ...args], { env, cwd: directory, stdio: "pipe" });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
  child.stdin.end(args[0] === "map" ? "one\ntwo\n" : "");
  const [exitCode] = await once(child, "close");
  return { exitCode, ...text };
}

const uploads = async () => (await mayfly("uploads", "ls")).stdout.match(/upl_\w+/g);

const LISTED = (path: string) => `${path}/deep/ 755 \n${path}/deep/a 644 hello\n${path}/tool 755 #!/bin/sh\n\n`;

test("run --upload sends a directory, and leaves no upload behind", async () => {
  await symlink("/etc/passwd", join(directory, "src/link"));
  expect(await mayfly("run", "--upload", "src:/in", "--file", "src/tool:/in/late:0700", "busybox")).toEqual({
    exitCode: 0,
    stdout: `${LISTED("/in")}/in/late 700 #!/bin/sh\n\n`,
    stderr: "mayfly: left out, being neither files nor directories: link\n",
  });
  expect(await uploads()).toBeNull();
  expect(await redis.keys("{mayfly}:upload*")).toEqual([]); // The run was over, and so nothing kept it.
});

test("run -d --upload goes on with it, though the command is over", async () => {
  const { stdout } = await mayfly("run", "-d", "--delay", "1s", "--upload", "src", "busybox");
  expect(await uploads()).toBeNull();
  const run = await createClient({ url: gateway.url }).waitRun(stdout.trim());
  expect(run.stdout?.data).toBe(LISTED("/work"));
});

test("upload prints an id, by which runs have it until it is removed", async () => {
  const { stdout } = await mayfly("upload", "src");
  const id = stdout.trim();
  expect(await mayfly("run", "--upload-id", `${id}:/again`, "busybox")).toMatchObject({ stdout: LISTED("/again") });
  expect(await uploads()).toEqual([id]);
  expect(JSON.parse((await mayfly("uploads", "ls", "--json")).stdout)).toMatchObject({ id, files: 3 });
  expect(await mayfly("uploads", "rm", id, "upl_01k3q7v2m8r4t6w9x1z3b5c7d9")).toMatchObject({
    exitCode: 1,
    stdout: `${id}\n`,
    stderr: expect.stringContaining("there is no upload upl_01k3q7v2m8r4t6w9x1z3b5c7d9"),
  });
  const refused = await mayfly("run", "--upload-id", id, "busybox");
  expect([refused.exitCode, refused.stderr]).toEqual([125, expect.stringContaining(`there is no upload ${id}`)]);
});

test("map sends a directory once, and every line's command has it", async () => {
  const { exitCode, stdout, stderr } = await mayfly("map", "-k", "--upload", "src:/in", "busybox", "--", "ls");
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: LISTED("/in").repeat(2), stderr: "" });
  expect(await uploads()).toBeNull();
});

test("what may not be sent is told why, though the gateway answers before it has read it all", async () => {
  await writeFile(join(directory, "src/big"), "");
  await truncate(join(directory, "src/big"), 64 * 2 ** 20);
  const before = await redis.keys("{mayfly}:upload:*"); // Of those that runs have named, until it is looked at them.
  const { exitCode, stderr } = await mayfly("run", "--upload", "src", "busybox");
  expect([exitCode, stderr]).toEqual([
    125,
    expect.stringContaining('with "big" of 67108864 bytes the upload is more than 2MiB'),
  ]);
  expect(before).toEqual(expect.arrayContaining(await redis.keys("{mayfly}:upload:*")));
});

test("a wrong flag is told before anything is sent", async () => {
  const before = gateway.log.filter(({ path }) => path === "/v1/uploads").length;
  const { exitCode, stderr } = await mayfly("run", "--upload", "src", "-m", "1", "busybox");
  expect([exitCode, stderr]).toEqual([125, expect.stringContaining("--memory is less than")]);
  expect((await mayfly("run", "--upload", "src:/a/../b", "busybox")).stderr).toContain(
    "--upload path is not an absolute path",
  );
  expect(gateway.log.filter(({ path }) => path === "/v1/uploads")).toHaveLength(before);
});

test("the client sends bytes or a stream, lists and removes", async () => {
  const client = new Mayfly({ url: gateway.url });
  const bytes = await client.uploads.create(new Uint8Array(tar([{ path: "a", content: "x" }])));
  const files = [{ name: "b/", size: 0, content: () => [] }];
  const stream = ReadableStream.from(writeTar(files, new AbortController().signal)) as ReadableStream<Uint8Array>;
  const streamed = await client.uploads.create(stream);
  const listed = [];
  for await (const upload of client.uploads.list()) listed.push(upload);
  expect(listed).toEqual([streamed, bytes]);
  expect(await client.uploads.inspect(bytes.id)).toEqual(bytes);
  for (const { id } of listed) await client.uploads.remove(id);
  await expect(client.uploads.remove(bytes.id)).rejects.toMatchObject({ status: 404, reason: "upload_not_found" });
});

test("a run is put off no further by a moment than by a delay", async () => {
  const { exitCode, stderr } = await mayfly("run", "--not-before", "2999-01-01T00:00:00Z", "busybox");
  expect([exitCode, stderr]).toEqual([125, expect.stringContaining("notBefore is more than 366d ahead")]);
});

test("uploads are offered where one may stand", async () => {
  const id = (await mayfly("upload", "src")).stdout.trim();
  expect((await mayfly("__complete", "--", "run", "--upload-id", "upl_")).stdout).toBe(`${id}\n`);
  expect((await mayfly("__complete", "--", "run", "--retry-on", "t")).stdout).toBe("timed_out\n");
  expect((await mayfly("__complete", "--", "uploads", "")).stdout).toBe("ls\nrm\n");
});
