// `mayfly run -it` at a real pseudo-terminal, against a real gateway, Redis and worker. The program is a script in the test, which
// sees exactly what a program would be typed; that real ones have a terminal is shown elsewhere.

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../helpers/eventually.ts";
import { type FakeHost, startFakeHost } from "../helpers/fake-host.ts";
import { exited, type FakeSandbox } from "../helpers/fake-sandbox.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { type PseudoTerminal, sitDown } from "../helpers/pseudo-terminal.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
let redis: Redis;
let gateway: Gateway;
let host: FakeHost;
let hold: Promise<void> | undefined;
const terminals: PseudoTerminal[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  gateway = await startGateway({ redisUrl: server.url });
});

beforeEach(async () => {
  hold = undefined;
  host = await startFakeHost({ redisUrl: server.url, program: echo, beforeOpen: async () => hold });
});

afterEach(async () => {
  for (const terminal of terminals.splice(0)) terminal.leave();
  await host.stop();
  await redis.flushall(); // What was left running is not to be another test's.
});

afterAll(async () => {
  redis.disconnect();
  await gateway.stop();
  await server.stop();
});

/** Writes each key in hex, and exits with 7 at Ctrl-D. */
function echo(sandbox: FakeSandbox): void {
  sandbox.stdout.write("ready\r\n");
  sandbox.stdin.on("data", (keys: Buffer) => {
    sandbox.stdout.write(`<${keys.toString("hex")}>`);
    if (keys.includes(4)) sandbox.end(exited(7));
  });
}

async function mayfly(...args: string[]): Promise<PseudoTerminal> {
  const terminal = await sitDown({ args, env: { MAYFLY_URL: gateway.url }, size: { rows: 30, columns: 90 } });
  terminals.push(terminal);
  return terminal;
}

/** At the program, which is ready for keys. */
async function session(...flags: string[]): Promise<{ terminal: PseudoTerminal; sandbox: FakeSandbox }> {
  const terminal = await mayfly("run", "-it", ...flags, "busybox");
  await terminal.shows(/ready/);
  await eventually(async () => expect(await terminal.modes()).toContain("-icanon"));
  return { terminal, sandbox: host.sandboxes[0] as FakeSandbox };
}

test("the program has a terminal of the window's size, is typed every key as it is, and its exit code is the command's", async () => {
  const { terminal } = await session();
  expect(host.specs[0]).toMatchObject({ terminal: { rows: 30, columns: 90 }, env: ["TERM=xterm"] });
  // Enter, Ctrl-C, Ctrl-Z, Ctrl-\, Ctrl-S, an arrow, a letter of two bytes.
  for (const [keys, hex] of [
    ["\r", "0d"],
    ["\x03", "03"],
    ["\x1a", "1a"],
    ["\x1c", "1c"],
    ["\x13", "13"],
    ["\x1b[A", "1b5b41"],
    ["ü", "c3bc"],
  ] as const) {
    terminal.type(keys);
    await terminal.shows(new RegExp(`<${hex}>`));
  }
  terminal.type("\x04");
  const { exitCode, before, after } = await terminal.ended;
  expect(exitCode).toBe(7);
  expect(after).toBe(before);
  expect(host.sandboxes[0]?.signals).toEqual([]);
});

test("the program's terminal follows the window, and changes while one is told are told as the last", async () => {
  const { terminal, sandbox } = await session();
  for (const rows of [31, 32, 33, 34, 35]) await terminal.resize({ rows, columns: 100 });
  await eventually(() => expect(sandbox.sizes.at(-1)).toEqual({ rows: 35, columns: 100 }));
  await terminal.resize({ rows: 5000, columns: 3 });
  await eventually(() => expect(sandbox.sizes.at(-1)).toEqual({ rows: 1000, columns: 3 }));
  terminal.type("\x04");
  expect((await terminal.ended).exitCode).toBe(7);
});

test("what the program writes comes as it is: a line feed by itself does not go back to the first column", async () => {
  const { terminal, sandbox } = await session();
  sandbox.stdout.write("[one\ntwo\r\nthree\x1b[1mfour\xff]\r\n");
  await terminal.shows(/\[one\vtwo\r+\nthree.*four.*\]/);
  expect(terminal.screen).toContain("three\x1b[1mfour");
  terminal.type("\x04");
  await terminal.ended;
});

describe("the terminal is as it was", () => {
  test("when the program is killed", async () => {
    const { terminal, sandbox } = await session();
    sandbox.kill();
    const { exitCode, before, after } = await terminal.ended;
    expect({ exitCode, after }).toEqual({ exitCode: 137, after: before });
  });

  test.each(["SIGTERM", "SIGHUP"] as const)(
    "when the command is told to end by %s, which cancels the run",
    async (signal) => {
      const { terminal, sandbox } = await session("--grace", "0s");
      process.kill(terminal.pid, signal);
      const { exitCode, before, after } = await terminal.ended;
      expect({ exitCode, after }).toEqual({ exitCode: 130, after: before });
      expect(sandbox.signals).toEqual(["SIGKILL"]);
    },
  );

  test("when it is told twice, and does not wait", async () => {
    const { terminal } = await session("--grace", "5m");
    process.kill(terminal.pid, "SIGTERM");
    await terminal.shows(/once more/);
    process.kill(terminal.pid, "SIGTERM");
    const { exitCode, before, after } = await terminal.ended;
    expect({ exitCode, after }).toEqual({ exitCode: 130, after: before });
  });

  test("when the gateway goes away and what is typed cannot be sent", async () => {
    const own = await startGateway({ redisUrl: server.url });
    const terminal = await sitDown({ args: ["run", "-it", "busybox"], env: { MAYFLY_URL: own.url } });
    terminals.push(terminal);
    await terminal.shows(/ready/);
    await own.stop("SIGKILL");
    terminal.type("x");
    const { exitCode, before, after } = await terminal.ended;
    expect({ exitCode, after }).toEqual({ exitCode: 125, after: before });
  });
});

test("a window that is closed cancels the run, and the command ends", async () => {
  const { terminal, sandbox } = await session("--grace", "0s");
  const { pid } = terminal;
  terminal.leave();
  await eventually(() => expect(sandbox.signals).toEqual(["SIGKILL"]));
  await eventually(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"));
});

describe("Ctrl-P Ctrl-Q", () => {
  test("leaves the run going, prints its id, and gives the terminal back", async () => {
    const { terminal, sandbox } = await session();
    terminal.type("a\x10");
    await terminal.shows(/<61>/);
    terminal.type("\x11");
    const { exitCode, before, after } = await terminal.ended;
    expect({ exitCode, after }).toEqual({ exitCode: 0, after: before });
    const [, id] = /\n(run_\w+)\r\n$/.exec(terminal.screen) ?? [];
    const run = await (await gateway.fetch(`/v1/runs/${id}`)).json();
    expect(run).toMatchObject({ id, state: "running" });
    expect(sandbox.signals).toEqual([]);
  });

  test("works when the gateway no longer answers", async () => {
    const { terminal } = await session();
    process.kill(gateway.pid, "SIGSTOP");
    try {
      terminal.type("abc");
      terminal.type("\x10\x11");
      expect((await terminal.ended).exitCode).toBe(0);
    } finally {
      process.kill(gateway.pid, "SIGCONT");
    }
  });

  test("is the program's if anything else is between", async () => {
    const { terminal } = await session();
    terminal.type("\x10b");
    await terminal.shows(/<1062>/);
    terminal.type("\x10\x10");
    await terminal.shows(/<10>/);
    terminal.type("\x04");
    expect((await terminal.ended).exitCode).toBe(7);
  });
});

describe("before the program runs", () => {
  test("Ctrl-C cancels the run", async () => {
    const never = Promise.withResolvers<void>();
    hold = never.promise;
    const terminal = await mayfly("run", "-it", "--grace", "0s", "busybox");
    await eventually(() => expect(host.specs).toHaveLength(1));
    terminal.type("\x03");
    await terminal.shows(/cancelling the run/);
    never.resolve();
    expect((await terminal.ended).exitCode).toBe(130);
  });

  test("a window that changes is no news lost", async () => {
    const ready = Promise.withResolvers<void>();
    hold = ready.promise;
    const terminal = await mayfly("run", "-it", "busybox");
    await eventually(() => expect(host.specs).toHaveLength(1));
    await terminal.resize({ rows: 50, columns: 132 });
    ready.resolve();
    await terminal.shows(/ready/);
    // stty changes one side after the other.
    await eventually(() => expect(host.sandboxes[0]?.sizes.at(-1)).toEqual({ rows: 50, columns: 132 }));
    await eventually(async () => expect(await terminal.modes()).toContain("-icanon"));
    terminal.type("\x04");
    expect((await terminal.ended).exitCode).toBe(7);
  });
});

test("without -i nothing is typed into the program, and Ctrl-C cancels it", async () => {
  const terminal = await mayfly("run", "-t", "--grace", "0s", "busybox");
  await terminal.shows(/ready/);
  expect(await terminal.modes()).toMatch(/(^|\s)icanon/);
  terminal.type("\x03");
  expect((await terminal.ended).exitCode).toBe(130);
});
