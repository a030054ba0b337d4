// `mayfly map` and `mayfly batch` as processes of their own, against a real gateway, a real Redis and a worker without containers.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../../cli/client.ts";
import type { Batch } from "../../core/batch.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

const MAIN = join(import.meta.dirname, "../../cli/main.ts");
const scratch = mkdtempSync(join(tmpdir(), "mayfly-cli-batches-"));

let server: RedisServer;
let gateway: Gateway;
let worker: FakeWorker;
/** By the last argument; whatever is not here is printed, and exits 0. */
let behaviour: (word: string, attempt: FakeAttempt) => Promise<unknown> = say;
const children: ChildProcess[] = [];

beforeAll(async () => {
  server = await startRedis();
  gateway = await startGateway({ redisUrl: server.url });
  worker = await startFakeWorker({
    redisUrl: server.url,
    behave: async (attempt) => {
      await attempt.started();
      await behaviour(attempt.record.request.command?.at(-1) ?? "", attempt);
    },
  });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).not.toBe(500));
});
afterEach(() => {
  behaviour = say;
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(async () => {
  await worker.stop();
  await gateway.stop();
  await server.stop();
  rmSync(scratch, { recursive: true, force: true });
});

async function say(word: string, attempt: FakeAttempt): Promise<void> {
  await attempt.write("stdout", `${word} is\n${word}\n`);
  await attempt.exit(word.startsWith("fail") ? 3 : 0);
}

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], url = gateway.url): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { MAYFLY_URL: url, NODE_COMPILE_CACHE: join(scratch, "compiled"), HOME: scratch },
    stdio: "pipe",
  });
  children.push(child);
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (text.stdout += chunk));
  child.stderr.on("data", (chunk) => (text.stderr += chunk));
  return { child, ended: once(child, "close").then(([exitCode]) => ({ exitCode, ...text })) };
}

function run(args: readonly string[], input = ""): Promise<Ended> {
  const { child, ended } = start(args);
  child.stdin?.end(input);
  return ended;
}

const lines = (count: number) => Array.from({ length: count }, (_, i) => `w${i}`);

describe("mayfly map", () => {
  test("runs a command for each line and prints each output in one piece, in the order of the lines with -k", async () => {
    const { exitCode, stdout, stderr } = await run(
      ["map", "-k", "-j", "10", "busybox", "--", "echo", "<{}>"],
      lines(50).join("\n"),
    );
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(
      lines(50)
        .map((word) => `<${word}> is\n<${word}>\n`)
        .join(""),
    );
  });

  test("in the order in which they end without -k; without {} the line is the last argument", async () => {
    const { exitCode, stdout } = await run(["map", "busybox", "echo", "-n"], lines(50).join("\n"));
    expect(exitCode).toBe(0);
    expect(stdout.match(/^(w\d+) is\n\1$/gm)).toHaveLength(50);
  });

  test.each([
    [0, 0],
    [3, 3],
    [100, 100],
    [120, 101],
  ])("%i that fail are exit code %i", async (failing, code) => {
    const words = [...lines(5), ...Array.from({ length: failing }, (_, i) => `fail${i}`)];
    expect((await run(["map", "busybox", "--", "echo", "{}"], words.join("\n"))).exitCode).toBe(code);
  });

  test("--halt soon,fail=2 feeds no more after the second, and what runs ends by itself", async () => {
    const words = ["fail0", "fail1", ...lines(2_000)];
    const { exitCode, stdout } = await run(
      ["map", "-j", "1", "--halt", "soon,fail=2", "busybox", "--", "echo", "{}"],
      words.join("\n"),
    );
    expect(exitCode).toBe(2);
    expect(stdout.match(/ is$/gm)?.length).toBeLessThan(10);
  });

  test("--halt now,fail=1 ends what runs, and does not wait for more lines", async () => {
    const cancelled: string[] = [];
    behaviour = async (word, attempt) => {
      if (word === "fail") return say(word, attempt);
      await eventually(async () => expect(await attempt.store.renew(attempt.record)).toBe("cancel"));
      cancelled.push(word);
      return attempt.end({ kind: "cancelled" });
    };
    const { child, ended } = start(["map", "--halt", "now,fail=1", "busybox", "--", "echo", "{}"]);
    child.stdin?.write("long\nfail\n"); // And nothing more, but no end.
    expect((await ended).exitCode).toBe(1);
    expect(cancelled).toEqual(["long"]);
  });

  test("an output that is larger than a line of results is printed whole", async () => {
    const large = "x".repeat(300_000);
    behaviour = async (_, attempt) => {
      await attempt.write("stdout", large);
      await attempt.exit(0);
    };
    expect((await run(["map", "busybox", "echo"], "one\n")).stdout).toBe(large);
  });

  test("--pipe gives each line to stdin; Ctrl-C cancels all", async () => {
    behaviour = async (_, attempt) => {
      expect(await worker.store.renew(attempt.record)).not.toBe("lost");
      await eventually(async () => expect(await attempt.store.renew(attempt.record)).toBe("cancel"));
      await attempt.end({ kind: "cancelled" });
    };
    const { child, ended } = start(["map", "--pipe", "busybox", "--", "cat"]);
    child.stdin?.write("a\nb\n");
    await eventually(async () => {
      const [latest] = await batches();
      expect(latest?.counts.running).toBe(2);
    });
    child.kill("SIGINT");
    expect((await ended).exitCode).toBe(0);
    expect((await batches())[0]).toMatchObject({ state: "cancelled" });
  });

  test("a flag that it does not know, or a wrong --halt, is 255 before anything is asked for", async () => {
    for (const args of [
      ["--halt", "later", "busybox"],
      ["--colour", "busybox"],
    ])
      expect((await run(["map", ...args])).exitCode).toBe(255);
  });
});

async function batches(): Promise<Batch[]> {
  const found: Batch[] = [];
  for await (const each of createClient({ url: gateway.url }).batches.list()) found.push(each);
  return found;
}

const request = (word: string) => JSON.stringify({ image: "busybox", command: ["echo", word], key: `k-${word}` });

describe("mayfly batch", () => {
  const fileOf = (content: readonly string[]) => {
    const path = join(scratch, "runs.jsonl");
    writeFileSync(path, content.map((line) => `${line}\n`).join(""));
    return path;
  };

  test("run sends a file, tells of malformed lines by file and number, and waits if it is asked to", async () => {
    const path = fileOf([request("a"), "{", request("b")]);
    const { exitCode, stderr, stdout } = await run(["batch", "run", "--name", "mine", "--wait", path]);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining(`${path}:2: is not JSON`)]);
    expect(JSON.parse(stdout)).toMatchObject({ name: "mine", state: "finished", counts: { succeeded: 2, failed: 1 } });
  });

  test("ps, inspect, results, pause, resume and cancel do what they say", async () => {
    const { stdout } = await run(["batch", "run", "-"], [request("one"), request("two")].join("\n"));
    const id = stdout.trim();
    const results = await run(["batch", "results", "-f", "-k", id]);
    const seen = results.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(seen.map(({ key }) => key)).toEqual(["k-one", "k-two"]);
    expect((await run(["batch", "ps", "-a"])).stdout).toContain(id);
    expect(JSON.parse((await run(["batch", "inspect", id])).stdout)).toMatchObject({ id, state: "finished" });
    const open = await createClient({ url: gateway.url }).batches.open({ name: "open" });
    for (const [verb, state] of [
      ["pause", "paused"],
      ["resume", "open"],
      ["cancel", "cancelled"],
    ])
      expect(JSON.parse((await run(["batch", String(verb), open.id, "--json"])).stdout)).toMatchObject({ state });
  });

  test("the client goes on where the gateway broke off: nothing is lost, nothing counts twice", async () => {
    const second = await startGateway({ redisUrl: server.url });
    let calls = 0;
    const client = createClient({
      url: gateway.url,
      async fetch(input, init) {
        const url = new URL(String(input instanceof Request ? input.url : input));
        const isLines = init?.method === "POST";
        // Every third answer is lost though it was obeyed, and then another gateway is asked.
        if (calls % 2 === 1) url.port = new URL(second.url).port;
        const answer = await fetch(url, init);
        if (isLines && ++calls % 3 === 0) {
          await answer.text();
          throw new TypeError("fetch failed");
        }
        return answer;
      },
    });
    const pieces = Array.from({ length: 40 }, (_, i) => Array.from({ length: 25 }, (_, j) => request(`${i * 25 + j}`)));
    const sent = await client.batches.run(pieces);
    expect(sent.counts.total).toBe(1_000);
    const keys: (string | undefined)[] = [];
    for await (const { key } of client.batches.results(sent.id, { order: "input" })) keys.push(key);
    expect(keys).toEqual(Array.from({ length: 1_000 }, (_, i) => `k-${i}`));
    await second.stop();
  });
});
