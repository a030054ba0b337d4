// The command and a cluster: real gateways with keys, workers without containers, real shells.

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { HostRecord } from "../../core/host.ts";
import type { Run } from "../../core/run.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, startGateway } from "../helpers/gateway.ts";
import { ROOT } from "../helpers/process.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { FakeGateway } from "../unit/cli/fake-gateway.ts";

const OPERATOR = "key-of-an-operator";
const TENANT = "key-of-a-tenant";

let directory: string;
let redis: RedisServer;
let gateway: Gateway;
let worker: FakeWorker;
let env: Record<string, string>;
/** What the program does until it may end. */
let held: FakeAttempt[] = [];
let letGo = Promise.withResolvers<void>();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "mayfly-cli-cluster-"));
  const line = (tenant: string, key: string, word: string) =>
    `${tenant} ${createHash("sha256").update(key).digest("hex")}${word}\n`;
  writeFileSync(join(directory, "keys"), line("ops", OPERATOR, " operator") + line("acme", TENANT, ""));
  redis = await startRedis();
  gateway = await startGateway({ redisUrl: redis.url, env: { MAYFLY_API_KEYS_FILE: join(directory, "keys") } });
  worker = await startFakeWorker({
    ...{
      redisUrl: redis.url,
      hostId: "host-a",
      capacity: { cpus: 4, memoryBytes: 2 ** 32, slots: 8 },
    },
    onAbandon: () => letGo.resolve(),
    behave: async (attempt) => {
      await attempt.started();
      held.push(attempt);
      if (attempt.record.request.command?.[0] === "wait") await letGo.promise;
      await attempt.exit(0);
    },
  });
});

beforeEach(() => {
  held = [];
  letGo = Promise.withResolvers();
  env = {
    PATH: `${join(ROOT, "cli")}:${process.env.PATH}`,
    HOME: directory,
    MAYFLY_URL: gateway.url,
    MAYFLY_API_KEY: OPERATOR,
  };
});

afterEach(() => letGo.resolve());

afterAll(async () => {
  await worker.stop();
  await gateway.stop();
  await redis.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface Told {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function tell(argv: readonly [string, ...string[]], stdin = ""): Promise<Told> {
  const child = startProcess(argv, { env, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  child.stdin?.on("error", () => {}); // Not every command reads it.
  child.stdin?.end(stdin);
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stdout, stderr: stderrTail };
}

const mayfly = (...args: string[]) => tell([join(ROOT, "cli/mayfly"), ...args]);

/** A run that goes on until it is let go. */
async function startRun(): Promise<string> {
  const before = held.length;
  const told = await mayfly("run", "-d", "busybox", "wait");
  expect(told).toMatchObject({ exitCode: 0, stderr: "" });
  await expect.poll(() => held.length, { timeout: 10_000, interval: 5 }).toBeGreaterThan(before);
  return told.stdout.trim();
}

describe("what keeps a command from its gateway", () => {
  it("is said with what to do about it: no key, a wrong key, a key that is no operator's", async () => {
    env.MAYFLY_API_KEY = "nobody's";
    expect(await mayfly("ps")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/key_unknown.*MAYFLY_API_KEY_FILE=FILE.*mayfly context create/s),
    });
    delete env.MAYFLY_API_KEY;
    expect((await mayfly("ps")).stderr).toMatch(/key_missing.*MAYFLY_API_KEY=KEY/s);
    env.MAYFLY_API_KEY = TENANT;
    expect((await mayfly("hosts")).stderr).toMatch(/scope_missing.*give a key with that scope/s);
  });

  it("is said with how to start one, or where to look, if nothing listens", async () => {
    const gone = await new FakeGateway().listen();
    await gone.close();
    env.MAYFLY_URL = gone.url;
    expect(await mayfly("ps")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(
        /ECONNREFUSED \(gateway_unreachable\).*npm run quickstart starts a cluster.*--url URL, MAYFLY_URL=URL or a context/s,
      ),
    });
  });

  it("is one document with --json, whatever it is", async () => {
    env.MAYFLY_API_KEY = TENANT;
    for (const args of [["hosts"], ["stats"], ["hosts", "drain", "host-a"], ["context", "use", "nowhere"]]) {
      const { stdout, stderr } = await mayfly("--json", ...args);
      expect([stdout, Object.keys(JSON.parse(stderr))]).toEqual(["", ["error"]]);
    }
  });
});

describe("mayfly hosts", () => {
  it("shows each with its state, its load and its version, and as JSON and by a template too", async () => {
    const id = await startRun();
    const { stdout } = await mayfly("hosts");
    expect(stdout.split("\n")[0]).toMatch(/^HOST +POOL +STATE +RUNS +SLOTS +CPUS +MEMORY +VERSION +UP$/);
    await expect
      .poll(async () => (await mayfly("hosts")).stdout, { timeout: 15_000 })
      .toMatch(/^host-a +default +ready +1 +1\/8 +1\/4 +256\.0MiB\/4\.0GiB +0\.1\.0 +\w+$/m);
    expect(JSON.parse((await mayfly("hosts", "ls", "--json")).stdout) as HostRecord).toMatchObject({
      id: "host-a",
      state: "ready",
    });
    const shown = await mayfly("hosts", "--format", "{{.id}}:{{.state}} {{.capacity.slots}}");
    expect(shown.stdout).toBe("host-a:ready 8\n");
    expect((await mayfly("stats")).stdout).toMatch(/^all +1 +1\/8 +1\/4 /m);
    expect((await mayfly("stats", id)).stdout).toMatch(new RegExp(`^${id} +running +- +- +-$`, "m"));
    letGo.resolve();
    await mayfly("wait", id);
  });

  it("cordons, drains until the last run has ended, and gives back", async () => {
    const id = await startRun();
    expect(await mayfly("hosts", "cordon", "host-a")).toMatchObject({ exitCode: 0, stdout: "host-a: cordoned\n" });
    expect((await mayfly("hosts", "drain", "-d", "host-a", "--timeout", "1h")).stdout).toBe("host-a: draining\n");
    const draining = mayfly("hosts", "drain", "host-a", "--timeout", "1h");
    letGo.resolve();
    expect(await draining).toMatchObject({ exitCode: 0, stdout: "host-a: cordoned\n" });
    expect((await mayfly("wait", id)).stdout).toContain("0");
    expect((await mayfly("hosts", "uncordon", "host-a")).stdout).toBe("host-a: ready\n");
  });

  it.each([
    [["hosts", "cordn", "host-a"], 2, "did you mean cordon?"],
    [["hosts", "cordon"], 2, "HOST is missing; it takes cordon HOST..."],
    [["hosts", "ls", "--timeout", "5s"], 2, "ls has no use for --timeout"],
    [["hosts", "drain", "host-a", "--timeout", "5"], 2, '--timeout "5" is not a duration'],
    [["hosts", "drain", "host-a", "--timeout", "25h"], 1, "timeout: is more than 1d"],
    [["hosts", "cordon", "nobody"], 1, 'there is no host "nobody" (host_not_found)'],
    [["hosts", "--format", "{{.stat}}"], 2, "there is no field .stat; did you mean state?"],
    [["ps", "--format", "{{.imag}}"], 2, "there is no field .imag; did you mean image?"],
    [["inspect", "run_1", "--format", "{{id}}"], 2, "{{id}} is none of"],
    [["images", "--format", "{{.nme}}"], 2, "there is no field .nme; there are"],
  ])("refuses %j with %d and what is wrong", async (args, exitCode, message) => {
    expect(await mayfly(...args)).toMatchObject({ exitCode, stdout: "", stderr: expect.stringContaining(message) });
  });
});

describe("mayfly ps and inspect", () => {
  it("show the fields that they are asked for", async () => {
    const id = (await mayfly("run", "-d", "-l", "job=7", "busybox", "true")).stdout.trim();
    await mayfly("wait", id);
    expect(
      (await mayfly("inspect", id, "--format", "{{.outcome.kind}} {{.outcome.exitCode}} {{.labels.job}}")).stdout,
    ).toBe("exited 0 7\n");
    expect((await mayfly("ps", "-a", "--format", "{{.id}}")).stdout.split("\n")).toContain(id);
    const line = (await mayfly("ps", "-a", "-n", "1", "--format", "{{json .}}")).stdout;
    expect((JSON.parse(line) as Run).id).toMatch(/^run_/);
  });
});

describe("mayfly context", () => {
  beforeEach(() => {
    env = { PATH: `${process.env.PATH}`, XDG_CONFIG_HOME: mkdtempSync(join(directory, "config-")) };
  });

  it("keeps where a cluster is and its key, for its user alone, and leads there", async () => {
    const create = [join(ROOT, "cli/mayfly"), "context", "create", "ops", "--url", gateway.url, "--key-stdin"] as const;
    expect(await tell(create, `${OPERATOR}\n`)).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    expect(statSync(join(String(env.XDG_CONFIG_HOME), "mayfly/contexts.json")).mode & 0o777).toBe(0o600);
    expect((await mayfly("hosts", "--format", "{{.id}}")).stdout).toBe("host-a\n");
    writeFileSync(join(directory, "tenant-key"), `${TENANT}\n`);
    await mayfly("context", "create", "acme", "--url", gateway.url, "--key-file", join(directory, "tenant-key"));
    expect((await mayfly("--context", "acme", "hosts")).stderr).toContain("scope_missing");
    expect((await mayfly("hosts")).exitCode).toBe(0);
    await mayfly("context", "use", "acme");
    expect((await mayfly("hosts")).stderr).toContain("scope_missing");
    expect((await mayfly("hosts", "--context=ops")).exitCode).toBe(0);
    const listed = (await mayfly("context", "ls")).stdout;
    expect(listed).toMatch(/^\* +acme +http:\S+ +\/\S+tenant-key$/m);
    expect(listed).toMatch(/^ +ops +http:\S+ +kept$/m);
    expect(listed).not.toContain(OPERATOR);
    expect(
      (await mayfly("context", "ls", "--json")).stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).name),
    ).toEqual(["acme", "ops"]);
    await mayfly("context", "rm", "acme");
    expect((await mayfly("--context", "acme", "ps")).stderr).toContain('there is no context "acme"; there are ops');
  });

  it("sends a key to its own cluster only", async () => {
    const create = [join(ROOT, "cli/mayfly"), "context", "create", "ops", "--url", gateway.url, "--key-stdin"] as const;
    await tell(create, OPERATOR);
    expect((await mayfly("ps", "--url", gateway.url)).stderr).toContain("key_missing");
    env.MAYFLY_URL = gateway.url;
    expect((await mayfly("ps")).stderr).toContain("key_missing");
  });

  it.each([
    [["create", "a b", "--url", "http://x"], '"a b" is no name'],
    [["create", "a"], "--url is missing"],
    [["create", "a", "--url", "x"], '--url "x" is not an http or https URL'],
    [["use"], "CONTEXT is missing; it takes use CONTEXT"],
    [["use", "a"], 'there is no context "a"; mayfly context create makes one'],
    [["ls", "--key-stdin"], "ls has no use for a key"],
    [["lst"], "did you mean ls?"],
  ])("refuses %j, and says what is wrong", async (args, message) => {
    expect(await mayfly("context", ...args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
  });
});

/** What a shell offers at the end of a line, by its own means. */
const SHELLS = {
  bash: (line: string) => [
    ...["bash", "-c"],
    // What bash tells a function that -F names, and what it takes from it; the words that it would show are those of compgen.
    'source <(mayfly completion bash); [[ $(complete -p mayfly) == *"-F _mayfly mayfly" ]] || exit 9; ' +
      'COMP_LINE=$1 COMP_POINT=$(printf %s "$1" | wc -c) IFS=" "; _mayfly mayfly; compgen -W "$(echo "$' +
      '{COMPREPLY[@]}")" || true',
    ...["bash", line],
  ],
  fish: (line: string) => ["fish", "--private", "-c", "mayfly completion fish | source; complete -C $argv[1]", line],
} as const;

describe.each(Object.entries(SHELLS))("completion in %s", (shell, command) => {
  const isThere = async () => (await tell(["sh", "-c", `command -v ${shell}`])).exitCode === 0;
  const offered = async (line: string) => {
    const { stdout, stderr } = await tell(command(line) as [string, ...string[]]);
    expect(stderr).toBe("");
    return stdout
      .split("\n")
      .filter((word) => word !== "")
      .toSorted();
  };

  it("offers commands, actions, flags and their values, the runs that are meant, hosts and contexts", async ({
    skip,
  }) => {
    if (!(await isThere())) skip(`${shell} is not installed`);
    const running = await startRun();
    const over = (await mayfly("run", "-d", "busybox", "true")).stdout.trim();
    await mayfly("wait", over);
    expect(await offered("mayfly ho")).toEqual(["hosts"]);
    expect(await offered("mayfly hosts ")).toEqual(["cordon", "drain", "ls", "uncordon"]);
    // What only the gateway knows is not offered if it is slow to answer.
    await eventually(async () => expect(await offered("mayfly hosts drain ")).toEqual(["host-a"]));
    expect(await offered("mayfly logs --st")).toEqual(["--stderr", "--stdout"]);
    expect(await offered("mayfly ps --state ")).toEqual(["finished", "queued", "running", "starting"]);
    await eventually(async () => expect(await offered("mayfly kill -s SIGUSR1 run_")).toEqual([running]));
    await eventually(async () =>
      expect(await offered("mayfly logs run_")).toEqual(expect.arrayContaining([running, over])),
    );
    await mayfly("context", "create", "one", "--url", "http://x");
    expect(await offered("mayfly context use ")).toContain("one");
    letGo.resolve();
    await mayfly("wait", running);
  });

  it("offers nothing, and says nothing, if the gateway is away", async ({ skip }) => {
    if (!(await isThere())) skip(`${shell} is not installed`);
    env.MAYFLY_URL = "http://127.0.0.1:9";
    expect(await offered("mayfly kill run_")).toEqual([]);
  });
});
