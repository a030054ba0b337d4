// What a run is told while it goes on, from HTTP to its sandbox: a real gateway, a real Redis, the real worker, and a program
// that is a script in the test.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { channels, keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Run } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, type FakeHostOptions, startFakeHost } from "../helpers/fake-host.ts";
import { exited } from "../helpers/fake-sandbox.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let host: FakeHost | undefined;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url, keys: { acme: "key-a", other: "key-o" } });
  await eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));
});

afterEach(async () => {
  await host?.stop();
  host = undefined;
  await redis.flushall();
});

afterAll(async () => {
  await gateway.stop();
  redis.disconnect();
  await server.stop();
});

const SIZE = { rows: 24, columns: 80 };
const TERMINAL = { terminal: SIZE, stdin: { stream: true } } as const;

async function serve(options: Partial<FakeHostOptions> = {}): Promise<FakeHost> {
  host = await startFakeHost({ redisUrl: server.url, program: () => {}, ...options });
  return host;
}

interface Answer {
  readonly status: number;
  readonly reason: string | undefined;
  readonly errors: readonly { field: string; message: string }[] | undefined;
}

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await gateway.fetch(path, {
    method: "POST",
    headers: { authorization: "Bearer key-a", "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const { reason, errors } = text === "" ? {} : JSON.parse(text);
  return { status: response.status, reason, errors };
}

const resize = (id: string, body: unknown, headers = {}) => post(`/v1/runs/${id}/resize`, body, headers);
const signal = (id: string, body: unknown, headers = {}) => post(`/v1/runs/${id}/signal`, body, headers);

async function submit(request: Partial<RunRequest>): Promise<string> {
  const response = await gateway.fetch("/v1/runs", {
    method: "POST",
    headers: { authorization: "Bearer key-a", "content-type": "application/json" },
    body: JSON.stringify({ image: "busybox", ...request }),
  });
  expect(response.status).toBe(202);
  return ((await response.json()) as Run).id;
}

const inState = (id: string, state: string) =>
  eventually(async () => expect(await redis.hget(keys.run(id), "state")).toBe(state));

async function running(request: Partial<RunRequest>): Promise<string> {
  const id = await submit(request);
  await inState(id, "running");
  return id;
}

/** All that is said to the host while `work` is done. */
async function overheard(work: () => Promise<unknown>): Promise<string[]> {
  const ear = new Redis(server.url);
  const heard: string[] = [];
  ear.on("message", (_, message: string) => heard.push(message));
  await ear.subscribe(channels.host("fake"));
  await work();
  await ear.ping(); // What was published before is told before the answer.
  ear.disconnect();
  return heard;
}

describe("a size", () => {
  test("that is no size is refused with the field's name, and nothing is recorded or said", async () => {
    await serve();
    const id = await running(TERMINAL);
    const heard = await overheard(async () => {
      for (const [body, field] of [
        [{ rows: 0, columns: 80 }, "rows"],
        [{ rows: 24, columns: 70_000 }, "columns"],
        [{ rows: 24 }, "columns"],
        [{ rows: "24", columns: 80 }, "rows"],
        [{ ...SIZE, xpixel: 1 }, "xpixel"],
        [[], "body"],
      ] as const) {
        expect(await resize(id, body)).toMatchObject({ status: 400, reason: "invalid_field", errors: [{ field }] });
      }
      expect(await resize(id, "{")).toMatchObject({ status: 400, reason: "malformed_body" });
      expect(await resize(id, SIZE, { "content-type": "text/plain" })).toMatchObject({ status: 415 });
    });
    expect(heard).toEqual([]);
    expect(await redis.hget(keys.run(id), "terminalSize")).toBeNull();
  });

  test("reaches the sandbox of a program that runs; many in a row end with the last", async () => {
    const { sandboxes } = await serve();
    const id = await running(TERMINAL);
    expect(await resize(id, { rows: 50, columns: 132 })).toMatchObject({ status: 204 });
    await eventually(() => expect(sandboxes[0]?.sizes).toEqual([{ rows: 50, columns: 132 }]));
    for (let rows = 1; rows <= 20; rows++) await resize(id, { rows, columns: 80 });
    await eventually(() => expect(sandboxes[0]?.sizes.at(-1)).toEqual({ rows: 20, columns: 80 }));
  });

  test("that comes while the run waits for a host is the one that the terminal is made with", async () => {
    const id = await submit(TERMINAL);
    expect(await resize(id, { rows: 50, columns: 132 })).toMatchObject({ status: 204 });
    const { specs } = await serve();
    await inState(id, "running");
    expect(specs[0]?.terminal).toEqual({ rows: 50, columns: 132 });
  });

  test("that comes while the sandbox is made is applied when it is there", async () => {
    const ready = Promise.withResolvers<void>();
    const { specs, sandboxes } = await serve({ beforeOpen: () => ready.promise });
    const id = await submit(TERMINAL);
    await eventually(() => expect(specs).toHaveLength(1));
    expect(specs[0]?.terminal).toEqual(SIZE);
    expect(await resize(id, { rows: 50, columns: 132 })).toMatchObject({ status: 204 });
    ready.resolve();
    await eventually(() => expect(sandboxes[0]?.sizes).toEqual([{ rows: 50, columns: 132 }]));
  });

  test("is 409 for a run without a terminal, and for one that has finished", async () => {
    const { sandboxes } = await serve();
    const plain = await running({});
    expect(await resize(plain, SIZE)).toMatchObject({ status: 409, reason: "no_terminal" });
    sandboxes[0]?.end(exited(0));
    const id = await running(TERMINAL);
    sandboxes[1]?.end(exited(0));
    await inState(id, "finished");
    expect(await resize(id, SIZE)).toMatchObject({ status: 409, reason: "run_not_running" });
    expect(await redis.hget(keys.run(id), "terminalSize")).toBeNull();
  });
});

describe("a signal", () => {
  test("that is not on the list is refused, and nothing is said to the host", async () => {
    const { sandboxes } = await serve();
    const id = await running({});
    const heard = await overheard(async () => {
      for (const word of ["SIGSTOP", "SIGSEGV", "int", "9", "", "SIGINT SIGKILL", "SIGINT\ncancel"]) {
        expect(await signal(id, { signal: word })).toMatchObject({ status: 400, errors: [{ field: "signal" }] });
      }
      expect(await signal(id, { signal: 9 })).toMatchObject({ status: 400 });
      expect(await signal(id, { signal: "SIGINT", pid: 1 })).toMatchObject({ status: 400, errors: [{ field: "pid" }] });
      expect(await signal(id, "signal=SIGINT", { "content-type": "text/plain" })).toMatchObject({ status: 415 });
    });
    expect(heard).toEqual([]);
    expect(sandboxes[0]?.signals).toEqual([]);
  });

  test("reaches the program, and what it makes of it is its own affair", async () => {
    const { sandboxes } = await serve();
    const id = await running({});
    for (const name of ["SIGINT", "SIGUSR1", "SIGWINCH", "SIGQUIT"]) {
      expect(await signal(id, { signal: name })).toMatchObject({ status: 202 });
    }
    await eventually(() => expect(sandboxes[0]?.signals).toEqual(["SIGINT", "SIGUSR1", "SIGWINCH", "SIGQUIT"]));
    expect(await redis.hget(keys.run(id), "state")).toBe("running");
  });

  test("of SIGKILL ends the run by that signal: it was not cancelled", async () => {
    await serve();
    const id = await running({});
    expect(await signal(id, { signal: "SIGKILL" })).toMatchObject({ status: 202 });
    await inState(id, "finished");
    expect(JSON.parse((await redis.hget(keys.run(id), "outcome")) ?? "")).toEqual({
      kind: "signaled",
      signal: "SIGKILL",
    });
  });

  test("is 409 while the run waits or its sandbox is made, and once it has finished", async () => {
    const waiting = await submit({});
    expect(await signal(waiting, { signal: "SIGINT" })).toMatchObject({ status: 409, reason: "run_not_running" });
    const ready = Promise.withResolvers<void>();
    const { specs, sandboxes } = await serve({ beforeOpen: () => ready.promise });
    await eventually(() => expect(specs).toHaveLength(1));
    expect(await signal(waiting, { signal: "SIGINT" })).toMatchObject({ status: 409, reason: "run_not_running" });
    ready.resolve();
    await inState(waiting, "running");
    sandboxes[0]?.end(exited(0));
    await inState(waiting, "finished");
    expect(await signal(waiting, { signal: "SIGINT" })).toMatchObject({ status: 409, reason: "run_not_running" });
    expect(sandboxes[0]?.signals).toEqual([]);
  });
});

test("another tenant's run is not there, whatever it is told, and a caller without a key is told nothing", async () => {
  const { sandboxes } = await serve();
  const id = await running(TERMINAL);
  const heard = await overheard(async () => {
    const other = { authorization: "Bearer key-o" };
    expect(await resize(id, SIZE, other)).toMatchObject({ status: 404, reason: "run_not_found" });
    expect(await signal(id, { signal: "SIGKILL" }, other)).toMatchObject({ status: 404, reason: "run_not_found" });
    const nobody = { authorization: "" };
    expect(await resize(id, SIZE, nobody)).toMatchObject({ status: 401 });
    expect(await signal(id, { signal: "SIGKILL" }, nobody)).toMatchObject({ status: 401 });
    expect(await signal("run_00000000000000000000000000", { signal: "SIGKILL" })).toMatchObject({ status: 404 });
    expect(await signal("run_1", { signal: "SIGKILL" })).toMatchObject({ status: 400 });
  });
  expect(heard).toEqual([]);
  expect(sandboxes[0]).toMatchObject({ signals: [], sizes: [] });
});

test("the host passes over what is no order, and orders about runs that it does not hold", async () => {
  const { sandboxes } = await serve();
  const id = await running(TERMINAL);
  for (const word of [
    `signal ${id} SIGSTOP`,
    `signal ${id}`,
    `signal ${id} 9`,
    "signal run_00000000000000000000000000 SIGKILL",
    `cancel ${id} now`,
    "{}",
    "\0",
    `resize ${id}`, // It is one, and says nothing new.
  ]) {
    await redis.publish(channels.host("fake"), word);
  }
  await redis.hset(keys.run(id), "terminalSize", '{"rows":-1,"columns":1e9}');
  await redis.publish(channels.host("fake"), `resize ${id}`);
  await redis.publish(channels.host("fake"), `signal ${id} SIGUSR1`);
  await eventually(() => expect(sandboxes[0]?.signals).toEqual(["SIGUSR1"]));
  expect(sandboxes[0]?.sizes).toEqual([]);
});

test("what is typed and how large the window is come through when the host's connection was away meanwhile", async () => {
  const { sandboxes } = await serve({ program: ({ stdin, stdout }) => void stdin.pipe(stdout) });
  const id = await running(TERMINAL);
  await redis.call("CLIENT", "KILL", "TYPE", "pubsub");
  await resize(id, { rows: 50, columns: 132 });
  await gateway.fetch(`/v1/runs/${id}/stdin`, {
    method: "POST",
    headers: { authorization: "Bearer key-a" },
    body: "typed",
  });
  await eventually(() => expect(sandboxes[0]?.sizes).toEqual([{ rows: 50, columns: 132 }]));
  await eventually(async () => expect(await redis.get(keys.output(id, "stdout"))).toBe("typed"));
});
