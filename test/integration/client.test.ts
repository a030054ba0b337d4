// The example of docs/client.md, as it stands there, against a real gateway and a worker without containers; and hosts by the client.

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Mayfly } from "../../cli/library.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { ROOT } from "../helpers/process.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let redis: RedisServer;
let gateway: Gateway;
let worker: FakeWorker;
let directory: string;

beforeAll(async () => {
  redis = await startRedis();
  gateway = await startGateway({ redisUrl: redis.url });
  worker = await startFakeWorker({
    ...{ redisUrl: redis.url, onAbandon: () => {} },
    behave: async (attempt) => {
      await attempt.started();
      await attempt.write("stdout", `${attempt.record.request.command?.at(-1)?.replace("echo ", "")}\n`);
      await attempt.exit(0);
    },
  });
  directory = await mkdtemp(join(tmpdir(), "mayfly-client-"));
});

afterAll(async () => {
  await worker.stop();
  await gateway.stop();
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
});

it("the example of docs/client.md does what it says", async () => {
  const page = await readFile(join(ROOT, "docs/client.md"), "utf8");
  const [, example = ""] = /```ts\n(.*?)```/s.exec(page) ?? [];
  await mkdir(join(directory, "node_modules"));
  await symlink(ROOT, join(directory, "node_modules/mayfly"));
  await writeFile(join(directory, "example.ts"), example);
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
  const child = startProcess([process.execPath, "--conditions=mayfly-source", join(directory, "example.ts")], {
    env: { MAYFLY_URL: gateway.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  const { exitCode, stderrTail } = await finished(child);
  expect({ exitCode, stderrTail }).toEqual({ exitCode: 0, stderrTail: "" });
  expect(stdout.split("\n")).toEqual([
    "0 hello",
    "",
    "working",
    "exited",
    "busybox { job: '7' }",
    "busybox {}",
    "404 not_found run_not_found",
    "",
  ]);
});

it("hosts are listed, cordoned, drained and uncordoned", async () => {
  const { hosts, runs } = new Mayfly({ url: gateway.url });
  expect(await hosts.list()).toMatchObject([{ id: "fake", state: "ready" }]);
  expect(await hosts.cordon("fake")).toMatchObject({ state: "cordoned", running: 0 });
  const { id } = await runs.create({ image: "busybox", command: ["late"] });
  await hosts.drain("fake", { timeout: "1m" });
  expect(await hosts.drained("fake")).toMatchObject({ state: "cordoned", running: 0 });
  expect((await runs.get(id)).state).toBe("queued");
  expect(await hosts.uncordon("fake")).toMatchObject({ state: "ready" });
  expect((await runs.wait(id)).outcome).toEqual({ kind: "exited", exitCode: 0 });
});
