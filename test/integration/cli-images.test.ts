// The commands about images as users have them: a process, a real gateway, and hosts whose images are only told of.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createClient, type PullProgress } from "../../cli/client.ts";
import { MayflyError } from "../../core/errors.ts";
import { eventually } from "../helpers/eventually.ts";
import { digestOf } from "../helpers/fake-image-admin.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type ImageHost, startImageHost } from "../helpers/image-host.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let directory: string;
let a: ImageHost;
let b: ImageHost;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url });
  directory = await mkdtemp(join(tmpdir(), "mayfly-cli-images-"));
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});

beforeEach(async () => {
  a = await startImageHost(redis, "a");
  b = await startImageHost(redis, "b");
});

afterEach(async () => {
  await a.stop();
  await b.stop();
});

afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[]) {
  const env = { PATH: process.env.PATH, MAYFLY_URL: gateway.url, NODE_COMPILE_CACHE: join(directory, "compiled") };
  return spawn(process.execPath, [MAIN, ...args], { env, stdio: "pipe" });
}

async function mayfly(args: readonly string[], stdin = ""): Promise<Ended> {
  const child = start(args);
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (text[name] += chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
  const [exitCode] = await once(child, "close");
  return { exitCode, ...text };
}

const documents = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

describe("mayfly images", () => {
  it("lists what hosts have, and as JSON a line for each image of a host", async () => {
    for (const host of [a, b]) host.images.add("busybox:1");
    a.images.add("python:3");
    const { stdout, stderr, exitCode } = await mayfly(["images"]);
    expect([stderr, exitCode]).toEqual(["", 0]);
    expect(stdout).toMatch(/^busybox:1 .* a,b$/m);
    expect(stdout).toMatch(/^python:3 .* a$/m);
    expect(documents((await mayfly(["images", "--json"])).stdout).map(({ host }) => host)).toEqual(["a", "a", "b"]);
    expect((await mayfly(["images", "--host", "b"])).stdout).not.toContain("python");
  });

  it("tells of a host that fails, lists the others, and exits with 1", async () => {
    a.images.add("busybox:1");
    b.images.failure = new MayflyError("host_unavailable", "the disk is gone");
    const { stdout, stderr, exitCode } = await mayfly(["images"]);
    expect(stdout).toContain("busybox:1");
    expect(stderr).toBe("mayfly: b: the disk is gone (host_unavailable)\n");
    expect(exitCode).toBe(1);
    const asked = await mayfly(["images", "--host", "nobody"]);
    expect([asked.exitCode, asked.stderr]).toEqual([1, expect.stringContaining("host_not_found")]);
  });
});

describe("mayfly pull", () => {
  const layer = { digest: digestOf("l") as `sha256:${string}`, size: 9 } as const;

  it("has all hosts pull, and says of each layer when it is done", async () => {
    for (const host of [a, b])
      host.images.pulls.set("busybox", async (_, tell) => tell({ ...layer, state: "done", bytes: 9 }));
    const { stdout, exitCode } = await mayfly(["pull", "busybox"]);
    expect(exitCode).toBe(0);
    const short = layer.digest.slice(7, 19);
    const ready = (host: string) => `${host}: ready, ${digestOf("busybox")}`;
    const lines = [`a: ${short} done`, `b: ${short} done`, ready("a"), ready("b")];
    expect(stdout.trim().split("\n").toSorted()).toEqual(lines.toSorted());
    expect(a.images.calls).toEqual(["pull busybox missing"]);
    await mayfly(["pull", "--always", "--host", "b", "busybox"]);
    expect([a.images.calls.length, b.images.calls.at(-1)]).toEqual([1, "pull busybox always"]);
  });

  it("tells of hosts that failed, and exits with 1", async () => {
    b.images.pulls.set("busybox", () => Promise.reject(new MayflyError("image_not_found", "there is none")));
    const { stdout, stderr, exitCode } = await mayfly(["pull", "busybox"]);
    expect([stdout, stderr, exitCode]).toEqual([
      expect.stringContaining("a: ready"),
      "mayfly: b: there is none (image_not_found)\n",
      1,
    ]);
    const events = documents((await mayfly(["pull", "--json", "busybox"])).stdout);
    expect(events).toContainEqual({ host: "b", kind: "failed", reason: "image_not_found", message: "there is none" });
  });

  it("fails where there is no host, as whatever else needs one", async () => {
    await a.stop();
    await b.stop();
    for (const command of ["pull busybox", "rmi busybox", "image pin busybox", "image verify busybox"])
      expect(await mayfly(command.split(" ")), command).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining("there is no host"),
      });
    for (const command of ["images", "image usage", "image prune", "image verify"])
      expect(await mayfly(command.split(" ")), command).toMatchObject({ exitCode: 0, stderr: "" });
  });
});

describe("mayfly rmi", () => {
  it("removes from the hosts that have it, and says what stays and why", async () => {
    a.images.add("x");
    b.images.add("y", { pinned: true });
    const { stdout, stderr, exitCode } = await mayfly(["rmi", "x", "y", "z"]);
    expect(stdout).toBe("a: x, 10B freed\n");
    expect(stderr).toContain("b: y is pinned (image_in_use)");
    expect(stderr).toContain("z is not here (image_not_present)");
    expect(exitCode).toBe(1);
    a.images.add("x");
    expect(await mayfly(["rmi", "x"])).toMatchObject({ stderr: "", exitCode: 0 });
  });
});

describe("mayfly image", () => {
  it("shows all there is to know, and how it was made", async () => {
    b.images.add("x");
    const shown = JSON.parse((await mayfly(["image", "inspect", "x"])).stdout);
    expect(shown).toMatchObject({ host: "b", references: ["x"], config: { labels: { a: "b" } } });
    const { stdout, exitCode } = await mayfly(["image", "history", "x"]);
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/)[2])).toEqual([
      "STEP",
      "CMD sh",
      "ADD rootfs.tar /",
      undefined,
    ]);
    expect(exitCode).toBe(0);
    expect(await mayfly(["image", "inspect", "nothing"])).toMatchObject({ stdout: "", exitCode: 1 });
  });

  it("pins, unpins, prunes, checks and counts", async () => {
    for (const host of [a, b]) host.images.add("x");
    expect(await mayfly(["image", "pin", "x", "--host", "a"])).toMatchObject({ stdout: "a: x\n", exitCode: 0 });
    expect((await mayfly(["image", "prune", "--unused-for", "1h"])).stdout).toBe(
      "a: 0 layers, 10B freed\nb: x\nb: 1 layers, 10B freed\n",
    );
    expect(b.images.calls).toContain("prune 3600000");
    expect(await mayfly(["image", "unpin", "x"])).toMatchObject({ stdout: "a: x\n", stderr: "", exitCode: 0 });
    expect((await mayfly(["image", "verify", "--repair", "--host", "a"])).stdout).toBe(
      "a: 1 layers and 2 blobs read\n",
    );
    expect(a.images.calls.at(-1)).toBe("verify all true");
    expect((await mayfly(["image", "usage"])).stdout).toMatch(/^a +1 +1 +100B +40B +30B +1\.0KiB$/m);
  });

  it("fails where something is wrong and stays so", async () => {
    const fault = { digest: digestOf("l"), what: "has other bytes", repaired: false };
    a.images.images.verify = async () => ({ layers: 1, blobs: 1, faults: [fault] });
    const { stdout, exitCode } = await mayfly(["image", "verify"]);
    expect(stdout).toContain(`a: ${fault.digest} has other bytes\n`);
    expect(exitCode).toBe(1);
    a.images.images.verify = async () => ({ layers: 1, blobs: 1, faults: [{ ...fault, repaired: true }] });
    expect((await mayfly(["image", "verify"])).exitCode).toBe(0);
  });

  it.each([
    [["image"], "ACTION is missing; it takes ACTION [REFERENCE...]"],
    [["image", "inpsect"], 'there is no action "inpsect"; did you mean inspect?'],
    [["image", "pin"], "REFERENCE is missing; it takes pin REFERENCE..."],
    [["image", "usage", "x"], '"x" is one argument too many'],
    [["image", "verify", "--unused-for", "1h"], "verify has no use for --unused-for"],
    [["image", "prune", "--repair"], "prune has no use for --repair"],
    [["save", "--format", "zip", "x"], '--format "zip" is not one of oci, docker'],
  ])("%j is a wrong command line", async (args, message) => {
    expect(await mayfly(args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(`mayfly: ${message}\n`) });
  });
});

describe("mayfly load and save", () => {
  it("bring an archive onto all hosts, and back into a file", async () => {
    const loaded = await mayfly(["load"], "x:1\ny:2\n");
    expect(loaded).toEqual({ stdout: "a: x:1\na: y:2\nb: x:1\nb: y:2\n", stderr: "", exitCode: 0 });
    const file = join(directory, "saved.tar");
    expect(await mayfly(["save", "-o", file, "x:1", "y:2"])).toEqual({ stdout: "", stderr: "", exitCode: 0 });
    expect(await readFile(file, "utf8")).toBe("x:1\ny:2\n");
    expect(await mayfly(["save", "x:1"])).toMatchObject({ stdout: "x:1\n", exitCode: 0 });
  });

  it("load onto the one host that is named, from a file", async () => {
    const file = join(directory, "archive.tar");
    await writeFile(file, "x:1\n");
    expect((await mayfly(["load", "-i", file, "--host", "b"])).stdout).toBe("b: x:1\n");
    expect(a.images.held.size).toBe(0);
    const absent = await mayfly(["load", "-i", join(directory, "absent")]);
    expect([absent.exitCode, absent.stdout]).toEqual([1, ""]);
  });

  it("leave no file of what breaks off or is not there, and what was there stays", async () => {
    const own = await mkdtemp(join(directory, "own-"));
    const file = join(own, "saved.tar");
    await writeFile(file, "before");
    expect(await mayfly(["save", "-o", file, "nothing"])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("image_not_present"),
    });
    a.images.add("x:1");
    a.images.images.save = async () =>
      (async function* () {
        yield Buffer.from("half");
        throw new MayflyError("host_unavailable", "the disk is gone");
      })();
    expect((await mayfly(["save", "--host", "a", "-o", file, "x:1"])).exitCode).toBe(1);
    expect([await readdir(own), await readFile(file, "utf8")]).toEqual([["saved.tar"], "before"]);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("leave no part of a file behind at %s", async (signal) => {
    const own = await mkdtemp(join(directory, "own-"));
    a.images.add("x:1");
    a.images.images.save = async () =>
      (async function* () {
        for (;;) {
          yield Buffer.alloc(1_000);
          await new Promise(setImmediate);
        }
      })();
    const child = start(["save", "--host", "a", "-o", join(own, "saved.tar"), "x:1"]);
    const ended = once(child, "close");
    await eventually(async () => expect(await readdir(own)).toEqual([`saved.tar.${child.pid}.part`]));
    child.kill(signal);
    expect([await ended, await readdir(own)]).toEqual([[130, null], []]);
  });
});

describe("the client", () => {
  it("fails where the gateway breaks off in the middle of a pull", async () => {
    const begun = Promise.withResolvers<void>();
    const own = await startGateway({ redisUrl: server.url });
    await eventually(async () => expect((await own.fetch("/readyz")).status).toBe(200));
    a.images.pulls.set("x", () => {
      begun.resolve();
      return new Promise(() => {});
    });
    const seen: PullProgress[] = [];
    const pulling = (async () => {
      for await (const event of createClient({ url: own.url }).images.pull("x", { host: "a" })) seen.push(event);
    })();
    const failure = expect(pulling).rejects.toMatchObject({ reason: "gateway_unreachable" });
    await begun.promise;
    await own.stop("SIGKILL");
    await failure;
    expect(seen).toEqual([{ hosts: ["a"] }]);
  });
});
