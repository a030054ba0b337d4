// Batches through real gateways and a real Redis, with workers that have no containers.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Batch, BatchResult } from "../../core/batch.ts";
import { FEED_WINDOW } from "../../core/batch-parts.ts";
import { itemRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { type Ack, endOf, linesOf, readLines } from "../helpers/batch-lines.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, type FakeWorkerOptions, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, type GatewayOptions, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateways: Gateway[] = [];
let workers: FakeWorker[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
beforeEach(() => redis.flushall());
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  [gateways, workers] = [[], []];
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function gatewayWith(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const gateway = await startGateway({ redisUrl: server.url, ...options });
  gateways.push(gateway);
  await eventually(async () => expect(await (await gateway.fetch("/readyz")).text()).not.toContain("Redis"));
  return gateway;
}

async function workerWith(options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
  const worker = await startFakeWorker({ redisUrl: server.url, ...options });
  workers.push(worker);
  return worker;
}

/** The last argument is what each run does: it is written, and an exit code where it says so. */
async function obey(attempt: FakeAttempt): Promise<void> {
  const word = attempt.record.request.command?.at(-1) ?? "";
  await attempt.started();
  await attempt.write("stdout", `${word}\n`);
  await attempt.exit(word.startsWith("fail") ? 1 : 0);
}

const item = (word: string | number) => JSON.stringify({ image: "busybox", command: ["echo", String(word)] });
const many = (count: number) => Array.from({ length: count }, (_, i) => item(i));

async function send(gateway: Gateway, lines: readonly string[], path = "/v1/batches", headers = {}): Promise<Ack[]> {
  const answer = await gateway.fetch(path, { method: "POST", ...linesOf(lines, headers) });
  expect(answer.status).toBe(200);
  return readLines<Ack>(answer);
}

const idOf = (acks: readonly Ack[]) => String(acks[0]?.batch);
const get = async (gateway: Gateway, id: string): Promise<Batch> =>
  (await gateway.fetch(`/v1/batches/${id}`)).json() as Promise<Batch>;
const act = (gateway: Gateway, id: string, verb: string) =>
  gateway.fetch(`/v1/batches/${id}/${verb}`, { method: "POST" });
const resultsOf = async (gateway: Gateway, id: string, query = ""): Promise<BatchResult[]> =>
  readLines(await gateway.fetch(`/v1/batches/${id}/results?${query}`));
const over = (gateway: Gateway, id: string, state = "finished") =>
  eventually(async () => expect((await get(gateway, id)).state).toBe(state));

/** Counts of how many items of a batch it is asked how they ended, until it is done. */
async function looksAt(id: string) {
  const monitor = await redis.monitor();
  let looks = 0;
  let isOver = false;
  monitor.on("monitor", (_time: string, [command = "", name, ...rest]: string[]) => {
    if (command.toLowerCase() === "hmget" && name === `${keys.batch(id)}:ends`) looks += rest.length;
    if (rest[0] === "over") isOver = true;
  });
  const done = async () => {
    await redis.set("told", "over");
    await eventually(() => expect(isOver).toBe(true));
    monitor.disconnect();
    return looks;
  };
  return { done };
}

const exited = (exitCode: number) => ({ kind: "exited", exitCode });

describe("items", () => {
  test("5,000 go through: each runs once, the queue never holds more than the window, and each has its result", async () => {
    const gateway = await gatewayWith();
    const worker = await workerWith({ behave: obey });
    const acks = await send(gateway, many(5_000));
    expect(endOf(acks)).toMatchObject({ lines: 5_000, counts: { total: 5_000 } });
    const id = idOf(acks);
    const seen = await resultsOf(gateway, id, "follow=true");
    expect(seen.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 5_000 }, (_, i) => i),
    );
    for (const { index, run, outcome, stdout, receiptDigest } of seen) {
      expect([run, outcome, stdout?.data]).toEqual([itemRunId(id, index), exited(0), `${index}\n`]);
      expect(receiptDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
    }
    expect(worker.claimed).toHaveLength(5_000);
    expect(new Set(worker.claimed.map((run) => run.id)).size).toBe(5_000);
    const batch = await get(gateway, id);
    expect(batch).toMatchObject({
      state: "finished",
      progress: 1,
      counts: { succeeded: 5_000, failed: 0, waiting: 0, queued: 0, running: 0 },
    });
    expect(await redis.hget(keys.use("default"), "batches")).toBeNull();
  });

  test("those that wait cost the queue nothing: it holds a window of them", async () => {
    const gateway = await gatewayWith();
    const acks = await send(gateway, many(20_000));
    await eventually(async () => expect((await get(gateway, idOf(acks))).counts.queued).toBe(128));
    expect((await get(gateway, idOf(acks))).counts).toMatchObject({ total: 20_000, waiting: 19_872, running: 0 });
    expect(await redis.zcard(keys.queued("default"))).toBe(128);
  });
  test("the results come in the order of completion, or in that of the input, and from where the reader was", async () => {
    const gateway = await gatewayWith();
    const ends = new Map<string, () => void>();
    const behave = async (attempt: FakeAttempt) => {
      const word = attempt.record.request.command?.at(-1) ?? "";
      await new Promise<void>((resolve) => ends.set(word, resolve));
      await obey(attempt);
    };
    await workerWith({ behave });
    const id = idOf(await send(gateway, many(4)));
    await eventually(() => expect(ends.size).toBe(4));
    for (const [i, word] of ["2", "0", "3", "1"].entries()) {
      ends.get(word)?.();
      await eventually(async () => expect((await get(gateway, id)).counts.succeeded).toBe(i + 1));
      const inOrder = await resultsOf(gateway, id, "order=input");
      expect(inOrder.map(({ index }) => index)).toEqual(i === 0 ? [] : i < 3 ? [0] : [0, 1, 2, 3]);
    }
    expect((await resultsOf(gateway, id)).map(({ index }) => index)).toEqual([2, 0, 3, 1]);
    expect((await resultsOf(gateway, id, "from=2")).map(({ index }) => index)).toEqual([3, 1]);
    expect((await resultsOf(gateway, id, "order=input&from=3")).map(({ index }) => index)).toEqual([3]);
  });

  test("those never begun come last in the order of completion, and each is looked at once however many there are", async () => {
    const gateway = await gatewayWith();
    const id = idOf(await send(gateway, [...many(3_000), "{", ...many(2_000)]));
    await eventually(async () => expect((await get(gateway, id)).counts.queued).toBe(128));
    await act(gateway, id, "cancel");
    await over(gateway, id, "cancelled");
    const looks = await looksAt(id);
    const all = await resultsOf(gateway, id);
    const indexes = all.map(({ index }) => index);
    expect(indexes.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 5_001 }, (_, i) => i));
    const begun = await redis.llen(`${keys.batch(id)}:done`);
    expect(indexes.slice(begun)).toEqual(indexes.slice(begun).toSorted((a, b) => a - b));
    expect(await looks.done()).toBeLessThan(6_000);
    for (const from of [begun - 1, begun, begun + 1, 2_977, 4_999, 5_000, 5_001])
      expect(await resultsOf(gateway, id, `from=${from}`)).toEqual(all.slice(from));
  });

  test("a follower in the order of the input is told each as soon as those before it are told, to the end", async () => {
    const gateway = await gatewayWith();
    const follow = (id: string) => resultsOf(gateway, id, "order=input&follow=true");
    const id = idOf(await send(gateway, many(300)));
    const followed = follow(id);
    await workerWith({ behave: obey });
    expect((await followed).map(({ stdout }) => stdout?.data)).toEqual(many(300).map((_, i) => `${i}\n`));
  });

  test("output is cut in a line of results where the caller says, at a whole character, and is whole in the run", async () => {
    const gateway = await gatewayWith();
    await workerWith({ behave: obey });
    const id = idOf(await send(gateway, [item("ééé")]));
    await over(gateway, id);
    const [result] = await resultsOf(gateway, id, "output=5");
    expect(result?.stdout).toEqual({ encoding: "utf8", data: "éé", bytesSeen: 7, truncated: true });
    const run = (await (await gateway.fetch(`/v1/runs/${result?.run}`)).json()) as { stdout: { data: string } };
    expect(run.stdout.data).toBe("ééé\n");
  });

  test("of a tenant's runs, one that was asked for by itself goes before a batch's that came first", async () => {
    const gateway = await gatewayWith();
    const id = idOf(await send(gateway, many(50)));
    await eventually(async () => expect((await get(gateway, id)).counts.queued).toBe(50));
    const body = JSON.stringify({ image: "busybox", command: ["echo", "single"] });
    await gateway.fetch("/v1/runs", { method: "POST", body, headers: { "content-type": "application/json" } });
    const worker = await workerWith({ behave: obey, capacity: { slots: 1 } });
    await over(gateway, id);
    expect(worker.claimed[0]?.request.command).toEqual(["echo", "single"]);
  });
});

describe("templates", () => {
  const template = { image: "busybox", command: ["echo", "{}", "x={}"], env: { A: "b" } };
  const ran = async (gateway: Gateway, id: string) => {
    const worker = await workerWith({ behave: obey });
    await over(gateway, id);
    return worker.claimed.map(({ request }) => request.command);
  };

  test("each input stands in the place of each {}, whatever is in it", async () => {
    const gateway = await gatewayWith();
    const inputs = ['a "b"\n', "{}", { input: "\\u0041 é 🦋", key: "third" }];
    const body = JSON.stringify({ template, inputs, name: "words", labels: { a: "b" } });
    const answer = await gateway.fetch("/v1/batches", {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    const acks = await readLines<Ack>(answer);
    expect(endOf(acks)).toMatchObject({ name: "words", labels: { a: "b" }, counts: { total: 3 } });
    expect(await ran(gateway, idOf(acks))).toEqual(
      ['a "b"\n', "{}", "\\u0041 é 🦋"].map((word) => ["echo", word, `x=${word}`]),
    );
    expect((await resultsOf(gateway, idOf(acks), "order=input"))[2]?.key).toBe("third");
  });

  test("as lines, the first tells what all have in common; inputs may also be what the runs read", async () => {
    const gateway = await gatewayWith();
    const head = JSON.stringify({ batch: { template: { image: "busybox", command: ["cat"] }, stdin: true } });
    const id = idOf(await send(gateway, [head, '"one"', '{"input": "two", "key": "k"}']));
    const first = itemRunId(id, 0);
    await eventually(async () => expect(await redis.get(keys.stdin(first))).toBe("one"));
    expect(await redis.get(keys.stdin(itemRunId(id, 1)))).toBe("two");
    expect(await ran(gateway, id)).toEqual([["cat"], ["cat"]]);
  });

  test("files and stdin of a template, and of a line, reach the runs", async () => {
    const gateway = await gatewayWith();
    const common = { files: [{ path: "/in/a", content: "A" }], stdin: { base64: "/wA=" } };
    const head = JSON.stringify({ batch: { template: { ...template, ...common } } });
    const filled = idOf(await send(gateway, [head, '"one"']));
    const alone = idOf(await send(gateway, [JSON.stringify({ image: "busybox", ...common })]));
    for (const id of [filled, alone]) {
      const run = itemRunId(id, 0);
      await eventually(async () => expect(await redis.getBuffer(keys.stdin(run))).toEqual(Buffer.from([0xff, 0])));
      expect(JSON.parse((await redis.get(`${keys.run(run)}:files`)) ?? "")).toEqual(common.files);
    }
  });

  test("one whose inputs would go nowhere is refused", async () => {
    const gateway = await gatewayWith();
    const body = JSON.stringify({ template: { image: "busybox" }, inputs: ["a"] });
    const answer = await gateway.fetch("/v1/batches", {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("inputs would go nowhere")]);
  });
});

describe("a malformed line, 3,112 of 5,000", () => {
  const lines = () => many(5_000).with(3_111, '{"image": 7}');

  test.each<[policy: string, query: string]>([
    ["goes on", ""],
    ["goes on while few fail", "maxFailures=1"],
  ])("is told by its number and counts as a failure, and the batch %s", async (_, query) => {
    const gateway = await gatewayWith();
    await workerWith({ behave: obey });
    const acks = await send(gateway, lines(), `/v1/batches?${query}`);
    expect(acks.filter(({ malformed }) => malformed !== undefined)).toEqual([
      { malformed: 3_112, message: expect.stringMatching(/^line 3112: image is not/) },
    ]);
    await over(gateway, idOf(acks));
    const batch = await get(gateway, idOf(acks));
    expect(batch).toMatchObject({ malformed: 1, counts: { total: 5_000, succeeded: 4_999, failed: 1, cancelled: 0 } });
    const [bad] = await resultsOf(gateway, idOf(acks), "order=input&from=3111&output=0");
    expect(bad).toEqual({
      index: 3_111,
      outcome: { kind: "rejected", code: "invalid_field", message: expect.stringContaining("line 3112") },
    });
  });

  test.each(["onFailure=stop_on_first", "maxFailures=0"])(
    "stops a batch with %s: what is after it is not taken, what waits is cancelled",
    async (query) => {
      const gateway = await gatewayWith();
      const acks = await send(gateway, lines(), `/v1/batches?${query}`);
      expect(acks.at(-1)?.error).toMatchObject({
        reason: "batch_closed",
        detail: expect.stringContaining("after line 3112"),
      });
      await over(gateway, idOf(acks));
      const batch = await get(gateway, idOf(acks));
      expect(batch).toMatchObject({
        stopped: "failures",
        counts: { total: 3_112, failed: 1, cancelled: 3_111, succeeded: 0 },
      });
      const seen = await resultsOf(gateway, idOf(acks), "output=0");
      expect(seen.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 3_112 }, (_, i) => i),
      );
    },
  );

  test("the 73,112th of 100,000 is told by its number, all others are taken, and none of them is a run before its turn", async () => {
    const gateway = await gatewayWith();
    const acks = await send(gateway, many(100_000).with(73_111, "{"));
    expect(acks.filter(({ malformed }) => malformed !== undefined)).toEqual([
      { malformed: 73_112, message: expect.stringMatching(/^line 73112: is not JSON/) },
    ]);
    const batch = await get(gateway, idOf(acks));
    expect(batch).toMatchObject({ malformed: 1, counts: { total: 100_000, failed: 1, cancelled: 0, succeeded: 0 } });
    expect(await redis.zcard(keys.queued("default"))).toBeLessThanOrEqual(FEED_WINDOW);
  });

  test.each([
    ["is not JSON", "{"],
    ["is not UTF-8", "\xff"],
    ["command has", JSON.stringify({ image: "a", command: Array(1025).fill("x") })],
    ["there is no pool other", JSON.stringify({ image: "a", pool: "other" })],
    ["stdin of an item must be there", JSON.stringify({ image: "a", stdin: { stream: true } })],
    ["key must not contain control characters", JSON.stringify({ image: "a", key: "a\nb" })],
    ["longer than 1048576 bytes", JSON.stringify({ image: "a", stdin: "x".repeat(2 ** 20) })],
  ])("it is said that it %s", async (says, line) => {
    const gateway = await gatewayWith();
    const body = Buffer.from(`${line}\n\n${item(1)}`, says === "is not UTF-8" ? "latin1" : "utf8");
    const answer = await gateway.fetch("/v1/batches", {
      method: "POST",
      body,
      headers: { "content-type": "application/x-ndjson" },
    });
    const acks = await readLines<Ack>(answer);
    expect(acks[1]).toEqual({ malformed: 1, message: expect.stringContaining(says) });
    expect(endOf(acks)).toMatchObject({ lines: 3, malformed: 1, counts: { total: 2 } });
  });
});

describe("failures", () => {
  test("stop_on_first feeds nothing more and cancels what is queued; what runs ends by itself", async () => {
    const gateway = await gatewayWith();
    let letGo = () => {};
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const behave = async (attempt: FakeAttempt) => {
      if (attempt.record.request.command?.at(-1) === "0") await held;
      await obey(attempt);
    };
    await workerWith({ behave, capacity: { slots: 2 } });
    const id = idOf(await send(gateway, many(400).with(1, item("fail")), "/v1/batches?onFailure=stop_on_first"));
    await eventually(async () =>
      expect((await get(gateway, id)).counts).toMatchObject({ waiting: 0, queued: 0, running: 1 }),
    );
    expect(await get(gateway, id)).toMatchObject({ state: "stopping", stopped: "failures" });
    letGo();
    await over(gateway, id);
    const { counts } = await get(gateway, id);
    expect(counts).toMatchObject({ total: 400, failed: 1 });
    expect(counts.succeeded + counts.cancelled).toBe(399);
    expect(counts.succeeded).toBeGreaterThan(0);
  });

  test("a run that no host could hold for five minutes is an item that failed, and what is behind it goes on", async () => {
    const gateway = await gatewayWith();
    await workerWith({ behave: obey });
    const huge = JSON.stringify({ image: "busybox", limits: { cpus: 1000 }, key: "huge" });
    const id = idOf(await send(gateway, [huge, item(1)]));
    await eventually(async () => expect(await redis.hexists(keys.batch(id), "unfit:default")).toBe(1));
    expect((await get(gateway, id)).counts).toMatchObject({ waiting: 2, failed: 0 });
    const unfit = JSON.parse((await redis.hget(keys.batch(id), "unfit:default")) ?? "");
    await redis.hset(keys.batch(id), "unfit:default", JSON.stringify({ ...unfit, since: unfit.since - 300_000 }));
    await over(gateway, id);
    const [first, second] = await resultsOf(gateway, id, "order=input");
    expect(first).toMatchObject({ key: "huge", outcome: { kind: "rejected", code: "no_host_large_enough" } });
    expect(second?.outcome).toEqual(exited(0));
  });
});

describe("what may happen meanwhile", () => {
  test("a gateway that is killed while a batch streams in: what it acknowledged is there, and the rest comes once", async () => {
    const first = await gatewayWith();
    const lines = many(5_000);
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        // Never to its end: it is killed in the middle.
        if (sent === 3_000) return new Promise(() => {});
        controller.enqueue(
          Buffer.from(
            lines
              .slice(sent, sent + 100)
              .map((line) => `${line}\n`)
              .join(""),
          ),
        );
        sent += 100;
      },
    });
    const answer = await first.fetch("/v1/batches", {
      method: "POST",
      body,
      duplex: "half",
      headers: { "content-type": "application/x-ndjson" },
    } as RequestInit);
    let text = "";
    let acknowledged = 0;
    try {
      for await (const piece of answer.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(piece).toString();
        acknowledged = Number(/.*"line":(\d+)/s.exec(text)?.[1] ?? 0);
        if (acknowledged > 1_000) await first.stop("SIGKILL");
      }
    } catch {
      // It has been killed.
    }
    expect(acknowledged).toBeGreaterThan(1_000);
    const id = String(/"batch":"(\w+)"/.exec(text)?.[1]);
    const second = await gatewayWith();
    expect((await get(second, id)).lines).toBeGreaterThanOrEqual(acknowledged);
    const rest = await send(
      second,
      lines.slice(acknowledged),
      `/v1/batches/${id}/items?from=${acknowledged}&close=true`,
    );
    expect(endOf(rest).counts.total).toBe(5_000);
    const worker = await workerWith({ behave: obey });
    await over(second, id);
    expect(worker.claimed.map(({ request }) => Number(request.command?.at(-1))).toSorted((a, b) => a - b)).toEqual(
      lines.map((_, i) => i),
    );
  });

  test("lines that come twice are taken once, and lines after a gap are refused", async () => {
    const gateway = await gatewayWith();
    const id = idOf(await send(gateway, many(10), "/v1/batches?close=false"));
    const again = await send(gateway, many(20).slice(5), `/v1/batches/${id}/items?from=5`);
    expect(endOf(again)).toMatchObject({ state: "open", lines: 20, counts: { total: 20 } });
    const gap = await send(gateway, many(5), `/v1/batches/${id}/items?from=21`);
    expect(gap.at(-1)?.error).toMatchObject({
      reason: "invalid_field",
      detail: "from is 21, and the batch has only 20 lines",
    });
    const headers = { "idempotency-key": "k" };
    const one = await send(gateway, many(10), "/v1/batches", headers);
    const two = await send(gateway, many(10), "/v1/batches", headers);
    expect([idOf(two), endOf(two).counts.total]).toEqual([idOf(one), 10]);
  });

  test("two gateways feed the same batches, and one is killed at it: each item has exactly one run", async () => {
    const [one, two] = [await gatewayWith(), await gatewayWith()];
    const worker = await workerWith({ behave: obey });
    const both = await Promise.all([one, two].map((gateway) => send(gateway, many(1_500))));
    await eventually(() => expect(worker.claimed.length).toBeGreaterThan(300));
    await one.stop("SIGKILL");
    for (const acks of both) await over(two, idOf(acks));
    expect(worker.claimed).toHaveLength(3_000);
    expect(new Set(worker.claimed.map(({ id }) => id)).size).toBe(3_000);
  });

  test("no more of a batch run at once than its concurrency says, and as many as that do", async () => {
    const gateway = await gatewayWith();
    let [now, most] = [0, 0];
    const behave = async (attempt: FakeAttempt) => {
      most = Math.max(most, ++now);
      await attempt.started();
      now--;
      await attempt.exit(0);
    };
    await workerWith({ behave });
    const id = idOf(await send(gateway, many(500), "/v1/batches?concurrency=7"));
    await over(gateway, id);
    expect(most).toBeLessThanOrEqual(7);
    expect(most).toBeGreaterThan(1);
    expect(await get(gateway, id)).toMatchObject({ concurrency: 7, counts: { succeeded: 500 } });
  });

  test("another tenant's run is next as if there were no batch", async () => {
    const gateway = await gatewayWith({ keys: { many: "m", one: "o" } });
    const as = (key: string) => ({ authorization: `Bearer ${key}` });
    const acks = await send(gateway, many(5_000), "/v1/batches", as("m"));
    await eventually(async () => expect(await redis.zcard(keys.queued("default"))).toBe(128));
    const body = JSON.stringify({ image: "busybox" });
    const headers = { "content-type": "application/json", ...as("o") };
    const run = (await (await gateway.fetch("/v1/runs", { method: "POST", body, headers })).json()) as { id: string };
    const seen = (await (await gateway.fetch(`/v1/runs/${run.id}`, { headers: as("o") })).json()) as {
      waiting: { reason: string };
    };
    expect(seen.waiting.reason).toBe("no_host");
    const worker = await workerWith({ behave: obey, capacity: { slots: 1 } });
    await eventually(() => expect(worker.claimed.length).toBeGreaterThan(5));
    expect(worker.claimed.slice(0, 2).map(({ id }) => id)).toContain(run.id);
    const foreign = await gateway.fetch(`/v1/batches/${idOf(acks)}`, { headers: as("o") });
    expect(foreign.status).toBe(404);
    expect((await gateway.fetch(`/v1/batches/${idOf(acks)}/results`, { headers: as("o") })).status).toBe(404);
    expect((await gateway.fetch(`/v1/batches/${idOf(acks)}/cancel`, { method: "POST", headers: as("o") })).status).toBe(
      404,
    );
  });
});

describe("pause, resume, cancel", () => {
  test("paused it feeds nothing, resumed it goes on", async () => {
    const gateway = await gatewayWith();
    const id = idOf(await send(gateway, many(1_000)));
    await eventually(async () => expect((await get(gateway, id)).counts.queued).toBe(128));
    expect(await (await act(gateway, id, "pause")).json()).toMatchObject({ state: "paused" });
    await workerWith({ behave: obey });
    await eventually(async () =>
      expect((await get(gateway, id)).counts).toMatchObject({ succeeded: 128, waiting: 872, queued: 0 }),
    );
    expect((await get(gateway, id)).state).toBe("paused");
    await act(gateway, id, "resume");
    await over(gateway, id);
    expect((await get(gateway, id)).counts.succeeded).toBe(1_000);
  });

  test("cancelled, what waits and what is queued is over, and what runs is asked to end", async () => {
    const gateway = await gatewayWith();
    const asked: string[] = [];
    const behave = async (attempt: FakeAttempt) => {
      await attempt.started();
      await eventually(async () => expect(await attempt.store.renew(attempt.record)).toBe("cancel"));
      asked.push(attempt.record.id);
      await attempt.end({ kind: "cancelled" });
    };
    await workerWith({ behave, capacity: { slots: 3 } });
    const id = idOf(await send(gateway, many(1_000)));
    await eventually(async () => expect((await get(gateway, id)).counts.running).toBe(3));
    expect((await act(gateway, id, "cancel")).status).toBe(200);
    await over(gateway, id, "cancelled");
    expect(asked).toHaveLength(3);
    expect(await get(gateway, id)).toMatchObject({
      stopped: "cancel",
      counts: { total: 1_000, cancelled: 1_000, waiting: 0, queued: 0, running: 0 },
    });
    const seen = await resultsOf(gateway, id);
    expect(seen).toHaveLength(1_000);
    expect(new Set(seen.map(({ outcome }) => outcome.kind))).toEqual(new Set(["cancelled"]));
    expect(seen.at(-1)?.run).toBeUndefined();
    expect((await resultsOf(gateway, id, "from=998")).map(({ index }) => index)).toEqual(
      seen.slice(998).map(({ index }) => index),
    );
  });
});

describe("limits", () => {
  const env = {
    MAYFLY_MAX_BATCH_ITEMS: "10",
    MAYFLY_MAX_BATCHES: "2",
    MAYFLY_MAX_QUEUED: "3",
    MAYFLY_BATCH_IDLE: "1s",
  };

  test("more items than a batch may have are refused, and those before are there", async () => {
    const gateway = await gatewayWith({ env });
    const acks = await send(gateway, many(11));
    expect(acks.at(-1)?.error).toMatchObject({
      reason: "batch_too_large",
      detail: expect.stringContaining("10 items (MAYFLY_MAX_BATCH_ITEMS)"),
    });
    expect((await get(gateway, idOf(acks))).counts.total).toBe(10);
  });

  test("more that waits than a batch may hold back is refused, until some has run", async () => {
    const gateway = await gatewayWith({ env: { MAYFLY_MAX_BATCH_WAITING: "2KiB", MAYFLY_MAX_QUEUED: "1" } });
    const acks = await send(gateway, many(100));
    expect(acks.at(-1)?.error).toMatchObject({
      reason: "queue_full",
      detail: expect.stringContaining("2048 bytes"),
    });
    const taken = (await get(gateway, idOf(acks))).counts.total;
    await workerWith({ behave: obey });
    await eventually(async () => expect((await get(gateway, idOf(acks))).counts.succeeded).toBe(taken));
    const more = await send(
      gateway,
      many(taken + 5).slice(taken),
      `/v1/batches/${idOf(acks)}/items?from=${taken}&close=true`,
    );
    expect(endOf(more).counts.total).toBe(taken + 5);
  });

  test("a tenant may have so many unfinished batches, and the next is refused with the limit", async () => {
    const gateway = await gatewayWith({ env });
    for (let i = 0; i < 2; i++) await send(gateway, many(1));
    const answer = await gateway.fetch("/v1/batches", { method: "POST", ...linesOf(many(1)) });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await answer.json()).toMatchObject({
      reason: "too_many_batches",
      detail: "default has 2 unfinished batches, the limit",
    });
  });

  test("what the queue has no room for is held back, and comes when it has", async () => {
    const gateway = await gatewayWith({ env });
    const id = idOf(await send(gateway, many(10)));
    await eventually(async () => expect((await get(gateway, id)).counts).toMatchObject({ queued: 3, waiting: 7 }));
    await workerWith({ behave: obey });
    await over(gateway, id);
    expect((await get(gateway, id)).counts.succeeded).toBe(10);
  });

  test("one whose input does not come to its end is closed after a while", async () => {
    const gateway = await gatewayWith({ env });
    await workerWith({ behave: obey });
    const id = idOf(await send(gateway, many(2), "/v1/batches?close=false"));
    expect((await get(gateway, id)).state).toBe("open");
    await over(gateway, id);
    const late = await send(gateway, many(1), `/v1/batches/${id}/items?from=2`);
    expect(late.at(-1)?.error?.reason).toBe("batch_closed");
  });

  test.each<[string, string, RequestInit]>([
    ["another type", "Content-Type is text/plain", { body: "x", headers: { "content-type": "text/plain" } }],
    ["an unknown option", "colour is not a field", linesOf(['{"batch": {"colour": "red"}}'])],
    ["no template", "template is required", { body: "{}", headers: { "content-type": "application/json" } }],
    ["a webhook inside", "webhook.url", linesOf(['{"batch": {"webhook": {"url": "https://127.0.0.1/"}}}'])],
  ])("%s is refused by name", async (_, says, init) => {
    const gateway = await gatewayWith();
    const answer = await gateway.fetch("/v1/batches", { method: "POST", ...init });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(await answer.text()).toContain(says);
    expect(await redis.keys("*batch:*")).toEqual([]);
  });
});

test("a list has them newest first, page by page, each tenant its own", async () => {
  const gateway = await gatewayWith();
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.push(idOf(await send(gateway, [])));
  const first = (await (await gateway.fetch("/v1/batches?limit=2")).json()) as { batches: Batch[]; next: string };
  const second = (await (await gateway.fetch(`/v1/batches?limit=2&cursor=${first.next}`)).json()) as {
    batches: Batch[];
  };
  expect([...first.batches, ...second.batches].map(({ id }) => id)).toEqual(ids.toSorted().toReversed());
});
