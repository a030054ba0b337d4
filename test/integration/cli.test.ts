// The command as users have it: a process of its own, against a gateway in this one.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { FakeGateway, type FakeOptions, type Interceptor, instead, json, problem } from "../unit/cli/fake-gateway.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const OK = { end: { kind: "exited", exitCode: 0 } } as const;

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What has come on stderr so far matches. */
  says(pattern: RegExp): Promise<void>;
}

let gateway: FakeGateway;
const children: ChildProcess[] = [];

/** Many processes start here: one compilation does for all. */
const compiled = mkdtempSync(join(tmpdir(), "mayfly-cli-"));
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await gateway.close();
});

async function serve(options: FakeOptions = {}): Promise<void> {
  gateway = await new FakeGateway(options).listen();
}

function start(args: readonly string[], env: Record<string, string> = {}, reads = true): Started {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { MAYFLY_URL: gateway.url, NODE_COMPILE_CACHE: compiled, ...env },
    stdio: "pipe",
  });
  children.push(child);
  const stdout: Buffer[] = [];
  let stderr = "";
  if (reads) child.stdout.on("data", (chunk) => stdout.push(chunk));
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = once(child, "close").then(([exitCode]) => ({ exitCode, stdout: Buffer.concat(stdout), stderr }));
  const says = async (pattern: RegExp) => {
    while (!pattern.test(stderr)) await once(child.stderr, "data");
  };
  return { child, ended, says };
}

/** Answers requests for this path, and leaves the others to the fake. */
const on =
  (path: RegExp, answer: (response: ServerResponse) => void): Interceptor =>
  (seen, response, count) =>
    path.test(seen.path) && instead(answer)(seen, response, count);

async function mayfly(
  args: readonly string[],
  options: { env?: Record<string, string>; stdin?: Buffer } = {},
): Promise<Ended> {
  const { child, ended } = start(args, options.env);
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.stdin);
  return ended;
}

const pattern = (length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32BE((at * 2_654_435_761) % 2 ** 32, at);
  return bytes;
};

const sha256 = (...bytes: Buffer[]): string => createHash("sha256").update(Buffer.concat(bytes)).digest("hex");

describe("mayfly run", () => {
  it("puts each stream's bytes on its own stream, and exits with the program's code", async () => {
    const binary = Buffer.from([0, 255, 13, 10, 128]);
    await serve({
      script: () => [{ stdout: binary }, { stderr: "oops\n" }, { end: { kind: "exited", exitCode: 42 } }],
    });
    expect(await mayfly(["run", "busybox", "false"])).toEqual({ exitCode: 42, stdout: binary, stderr: "oops\n" });
  });

  it("sends what its flags say, and its key", async () => {
    await serve();
    const args = "run -eA=1 -e SHELL -w /srv -u 1000:1000 -m 64m --timeout 5s --rm busybox sh -e -c true".split(" ");
    expect((await mayfly(args, { env: { SHELL: "/bin/zsh", MAYFLY_API_KEY: "sesame" } })).exitCode).toBe(0);
    expect(gateway.run.request).toEqual({
      image: "busybox",
      command: ["sh", "-e", "-c", "true"],
      env: { A: "1", SHELL: "/bin/zsh" },
      workdir: "/srv",
      user: "1000:1000",
      limits: { memory: "64MiB" },
      timeouts: { run: "5s" },
    });
    expect(gateway.seen.every(({ headers }) => headers.authorization === "Bearer sesame")).toBe(true);
  });

  it("loses and doubles nothing when its connection drops, again and again", async () => {
    const stdout = pattern(300_000);
    await serve({ cutEventsAfter: [50_000, 90_001, 0, 120_000], repeatBytes: 1000, script: () => [{ stdout }, OK] });
    const ended = await mayfly(["run", "busybox"]);
    expect(sha256(ended.stdout)).toBe(sha256(stdout));
    expect(ended).toMatchObject({ exitCode: 0, stderr: "" });
    expect(gateway.requests("GET", /events/)).toHaveLength(5);
  });

  it("sends several MiB of stdin in order, in chunks that the gateway takes, and then closes it", async () => {
    await serve({ script: () => ["eof", OK] });
    const stdin = pattern(5 * 1024 * 1024);
    expect((await mayfly(["run", "-i", "busybox", "cat"], { stdin })).exitCode).toBe(0);
    expect(gateway.run.request.stdin).toEqual({ stream: true });
    expect(sha256(...gateway.run.stdin)).toBe(sha256(stdin));
    expect(Math.max(...gateway.requests("POST", /stdin/).map(({ bytes }) => bytes))).toBeLessThanOrEqual(256 * 1024);
  });

  it("sends stdin as it comes, before there is an end to it", async () => {
    await serve({ script: () => ["eof", OK] });
    const { child, ended } = start(["run", "-i", "busybox", "cat"]);
    child.stdin?.write("first");
    await gateway.until(() => gateway.requests("POST", /stdin/).length === 1);
    child.stdin?.end("second");
    expect((await ended).exitCode).toBe(0);
    expect(gateway.run.stdin.map(String)).toEqual(["first", "second", ""]);
  });

  it("ends with the run though its stdin is still open", async () => {
    await serve({ script: () => [{ stdout: "done" }, { end: { kind: "exited", exitCode: 3 } }] });
    const { ended } = start(["run", "-i", "busybox"]);
    expect(await ended).toMatchObject({ exitCode: 3, stderr: "" });
  });

  it("cancels the run when its input cannot be sent, rather than pass off a part as the whole", async () => {
    const tooLarge = { code: "invalid_argument", reason: "body_too_large", detail: "the input is over its limit" };
    await serve({
      script: () => ["eof", OK],
      intercept: on(/stdin$/, (response) => problem(response, 413, tooLarge)),
    });
    const ended = await mayfly(["run", "-i", "busybox"], { stdin: Buffer.from("x") });
    expect(ended).toMatchObject({ exitCode: 125, stderr: expect.stringContaining("the input is over its limit") });
    expect(gateway.run.cancelled).toBe(true);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("cancels the run at %s, and waits for its end", async (signal) => {
    await serve({ script: () => [{ stderr: "ready\n" }, "until cancelled"] });
    const { child, ended, says } = start(["run", "busybox", "sleep"]);
    await says(/ready/);
    child.kill(signal);
    expect(await ended).toMatchObject({ exitCode: 130, stderr: expect.stringContaining("the run was cancelled") });
    expect(gateway.requests("POST", /cancel/)).toHaveLength(1);
  });

  it("leaves without waiting at the second Ctrl-C", async () => {
    await serve({
      script: () => [{ stderr: "ready\n" }, "until cancelled"],
      // Accepts the cancellation, and then the run does not end.
      intercept: on(/cancel$/, (response) => json(response, 202, gateway.view(gateway.run))),
    });
    const { child, ended, says } = start(["run", "busybox", "sleep"]);
    await says(/ready/);
    child.kill("SIGINT");
    await says(/once more/);
    child.kill("SIGINT");
    expect((await ended).exitCode).toBe(130);
    expect(gateway.run.state).toBe("running");
  });

  it("takes no more output than its reader does, and still hears Ctrl-C meanwhile", async () => {
    await serve({ script: () => [{ stdout: pattern(16 * 1024 * 1024) }, "until cancelled"] });
    const { child, ended } = start(["run", "busybox", "yes"], {}, false);
    await gateway.until(() => gateway.stalls > 0);
    child.kill("SIGINT");
    await gateway.until(() => gateway.run.cancelled);
    child.stdout?.resume();
    expect((await ended).exitCode).toBe(130);
  });

  it("cancels the run quietly when nobody reads its output any more", async () => {
    await serve({ script: () => [{ stdout: "1\n" }, "eof", OK] });
    const { child, ended } = start(["run", "busybox", "yes"]);
    await once(child.stdout as NonNullable<typeof child.stdout>, "data");
    child.stdout?.destroy();
    await once(child.stdout as NonNullable<typeof child.stdout>, "close");
    gateway.run.stdout = Buffer.from("1\n2\n");
    gateway.wake();
    expect(await ended).toMatchObject({ exitCode: 141, stderr: "" });
    expect(gateway.run.cancelled).toBe(true);
  });

  it.each([
    [{ kind: "timed_out", clock: "run", limit: "5s" } as const, 124, /timed out: the run clock/],
    [{ kind: "oom_killed", limit: "64MiB" } as const, 137, /out of memory/],
    [{ kind: "rejected", code: "image_not_found", message: "no such tag" } as const, 125, /rejected: no such tag/],
  ])("ends %j with exit code %d and says why", async (end, exitCode, message) => {
    await serve({ script: () => [{ end }] });
    expect(await mayfly(["run", "busybox"])).toMatchObject({ exitCode, stderr: expect.stringMatching(message) });
  });

  it.each([true, false])("says how much output was cut, whether the end event tells it (%s) or not", async (tells) => {
    await serve({ tellsFactsAtEnd: tells, script: () => ["eof", { stdout: "kept" }, OK] });
    const { ended } = start(["run", "busybox"]);
    await gateway.until(() => gateway.runs.size === 1);
    gateway.run.facts.stdout = { bytesSeen: 5000 };
    gateway.run.stdinClosed = true;
    gateway.wake();
    expect(await ended).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("4 of 5000 bytes were kept") });
  });

  it("says that output starts again when the run does", async () => {
    await serve({ script: () => [{ stdout: "one" }, "eof", "retry", { stdout: "two" }, OK] });
    const { child, ended } = start(["run", "busybox"]);
    await once(child.stdout as NonNullable<typeof child.stdout>, "data");
    gateway.run.stdinClosed = true;
    gateway.wake();
    const { stdout, stderr, exitCode } = await ended;
    expect({ exitCode, stdout: String(stdout) }).toEqual({ exitCode: 0, stdout: "onetwo" });
    expect(stderr).toMatch(/attempt 2: .* output starts again/);
  });

  it("prints the id and returns with -d, and one JSON document of the finished run with --json", async () => {
    await serve({ script: () => [{ stdout: "hi\n" }, { end: { kind: "exited", exitCode: 5 } }] });
    const detached = await mayfly(["run", "-d", "busybox"]);
    expect(detached).toMatchObject({ exitCode: 0, stdout: Buffer.from(`${gateway.run.id}\n`) });
    const asJson = await mayfly(["run", "--json", "busybox"]);
    expect(asJson).toMatchObject({ exitCode: 5, stderr: "" });
    expect(JSON.parse(String(asJson.stdout))).toMatchObject({ outcome: { exitCode: 5 }, stdout: { data: "hi\n" } });
  });

  it("exits with 125 and the gateway's own words when that is full, and does not insist", async () => {
    const full = { code: "resource_exhausted", reason: "queue_full", detail: "the queue is at its limit" };
    await serve({ intercept: instead((response) => problem(response, 429, full, { "retry-after": "3" })) });
    const ended = await mayfly(["run", "busybox"]);
    expect(ended).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/at its limit \(queue_full\)\n.*try again in 3s/),
    });
    expect(gateway.seen).toHaveLength(1);
  });

  it("exits with 125 for a wrong flag, and with --json tells it as JSON", async () => {
    await serve();
    expect(await mayfly(["run", "--memroy", "1g", "busybox"])).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining("did you mean --memory?"),
    });
    const asJson = await mayfly(["run", "--json", "-m", "1k", "busybox"]);
    expect(asJson.exitCode).toBe(125);
    expect(JSON.parse(asJson.stderr).error).toMatchObject({ code: "invalid_argument", reason: "usage" });
    expect(gateway.seen).toHaveLength(0);
  });

  it("exits with 125 on an answer that is no run, and one that is not JSON", async () => {
    const answers = [JSON.stringify({ id: 1 }), "<html>"];
    await serve({ intercept: instead((response) => response.writeHead(202).end(answers.shift())) });
    expect(await mayfly(["run", "busybox"])).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining("answer_invalid"),
    });
    expect(await mayfly(["run", "busybox"])).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining("not JSON"),
    });
  });
});

describe("the other commands", () => {
  it("list unfinished runs newest first, and all of them page by page with -a", async () => {
    await serve();
    const queued = gateway.addRun({ image: "one" });
    const running = gateway.addRun({ image: "two" }, ["until cancelled"]);
    for (let count = 0; count < 120; count++) gateway.addRun({ image: "three" }, [OK]);
    await gateway.until(() => [...gateway.runs.values()].filter(({ outcome }) => outcome).length === 120);
    const unfinished = await mayfly(["ps", "--json"]);
    const ids = String(unfinished.stdout)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).id);
    expect(ids).toEqual([running.id, queued.id]);
    const all = await mayfly(["ps", "-a", "-n", "115"]);
    expect(String(all.stdout).trim().split("\n")).toHaveLength(116);
    expect(String(all.stdout)).toMatch(/^ID +IMAGE +STATE +OUTCOME/);
    expect(all.stderr).toMatch(/more than these 115/);
  });

  it("print a run's output on its own streams, the kept part or to the end", async () => {
    await serve();
    const ended = gateway.addRun({ image: "x" }, [{ stdout: "out" }, { stderr: "err" }, OK]);
    const alive = gateway.addRun({ image: "x" }, [{ stdout: "so far" }, "eof", { stdout: ", to the end" }, OK]);
    await gateway.until(() => ended.state === "finished" && alive.stdout.length > 0);
    expect(await mayfly(["logs", ended.id])).toEqual({ exitCode: 0, stdout: Buffer.from("out"), stderr: "err" });
    expect(await mayfly(["logs", "--stderr", ended.id])).toEqual({
      exitCode: 0,
      stdout: Buffer.alloc(0),
      stderr: "err",
    });
    expect(await mayfly(["logs", alive.id])).toEqual({ exitCode: 0, stdout: Buffer.from("so far"), stderr: "" });
    const following = start(["logs", "-f", alive.id]);
    await once(following.child.stdout as NonNullable<ChildProcess["stdout"]>, "data");
    alive.stdinClosed = true;
    gateway.wake();
    expect(await following.ended).toMatchObject({ exitCode: 0, stdout: Buffer.from("so far, to the end") });
  });

  it("wait for runs, cancel and inspect them, and go on after one that is not there", async () => {
    await serve();
    const run = gateway.addRun({ image: "x" }, ["until cancelled"]);
    const missing = "run_00000000000000000000000000";
    const waiting = start(["wait", run.id]);
    await gateway.until(() => gateway.requests("GET", new RegExp(run.id)).length > 0);
    const cancelled = await mayfly(["cancel", missing, run.id]);
    expect(cancelled).toMatchObject({ exitCode: 1, stdout: Buffer.from(`${run.id}\n`) });
    expect(cancelled.stderr).toMatch(/run_not_found/);
    expect(await waiting.ended).toMatchObject({ exitCode: 0, stdout: Buffer.from("130\n") });
    const inspected = await mayfly(["inspect", run.id]);
    expect(JSON.parse(String(inspected.stdout))).toMatchObject({ id: run.id, outcome: { kind: "cancelled" } });
  });

  it("send a signal to each program, SIGKILL without another word, and refuse what is none", async () => {
    await serve();
    const one = gateway.addRun({ image: "x" }, ["until cancelled"]);
    const two = gateway.addRun({ image: "x" }, ["until cancelled"]);
    const missing = "run_00000000000000000000000000";
    const killed = await mayfly(["kill", "-s", "int", one.id, missing, two.id]);
    expect(killed).toMatchObject({ exitCode: 1, stdout: Buffer.from(`${one.id}\n${two.id}\n`) });
    expect(killed.stderr).toMatch(/run_not_found/);
    expect((await mayfly(["kill", one.id])).exitCode).toBe(0);
    const asJson = await mayfly(["kill", "--signal=1", "--json", one.id]);
    expect(JSON.parse(String(asJson.stdout))).toEqual({ id: one.id, signal: "SIGHUP" });
    expect(one.told).toEqual([{ signal: "SIGINT" }, { signal: "SIGKILL" }, { signal: "SIGHUP" }]);
    expect((await mayfly(["kill", "-s", "STOP", one.id])).exitCode).toBe(2);
    expect(two.told).toEqual([{ signal: "SIGINT" }]);
  });

  it("tell a gateway that does not answer, a wrong command and a surplus argument by their exit codes", async () => {
    await serve();
    const { url } = gateway;
    await gateway.close();
    const away = await mayfly(["ps", "--json"], { env: { MAYFLY_URL: url } });
    expect(away.exitCode).toBe(1);
    expect(JSON.parse(away.stderr).error).toMatchObject({ code: "unavailable", reason: "gateway_unreachable" });
    await serve();
    expect(await mayfly(["inpsect"])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("did you mean inspect?"),
    });
    expect(await mayfly(["ps", "extra"])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("too many") });
    expect(await mayfly([])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("a COMMAND is needed") });
  });
});
