// The mayfly command against all of it: real gateway, queue, worker and containers.

import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { ROOT } from "../helpers/process.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());

interface Told {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs the command to its end; `interrupt` is called once it has written something. */
async function mayfly(
  args: readonly string[],
  options: { stdin?: Buffer; onOutput?: (pid: number) => void } = {},
): Promise<Told> {
  const child = startProcess([join(ROOT, "cli/mayfly"), ...args], {
    env: { MAYFLY_URL: cluster.url },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => {
    if (stdout.length === 0) options.onOutput?.(child.pid as number);
    stdout.push(chunk);
  });
  child.stdin?.end(options.stdin ?? "");
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stdout: Buffer.concat(stdout), stderr: stderrTail };
}

const run = (...args: string[]) => mayfly(["run", ...args]);

describe("mayfly run", () => {
  it("exits with 125 for what Mayfly could not do, and says what", async () => {
    const told = await run(`${cluster.registry.host}/nothing`, "true");
    expect(told).toMatchObject({ exitCode: 125, stderr: expect.stringContaining("image_not_found") });
    expect((await run("--memory", "lots", cluster.image)).exitCode).toBe(125);
  });

  it("prints stdout and stderr to their own streams, and exits with the program's code", async () => {
    const told = await run(cluster.image, "sh", "-c", "echo out; echo err >&2; exit 42");
    expect({ ...told, stdout: told.stdout.toString() }).toEqual({ exitCode: 42, stdout: "out\n", stderr: "err\n" });
  });

  it("exits with 127 for a program that the image lacks, 128 and the signal for one that is killed", async () => {
    expect((await run(cluster.image, "no-such-program")).exitCode).toBe(127);
    expect((await run(cluster.image, "sh", "-c", "kill -SEGV $$")).exitCode).toBe(139);
  });

  it("takes docker's flags to the program", async () => {
    const script =
      "echo $A; pwd; id -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ulimit -n >/dev/null";
    const told = await run(
      "-e",
      "A=1",
      "-w",
      "/made/here",
      "-u",
      "app",
      "-m",
      "48m",
      "--cpus",
      "0.5",
      "--pids-limit",
      "20",
      cluster.image,
      "sh",
      "-c",
      script,
    );
    expect(told.stdout.toString()).toBe(`1\n/made/here\n1000\n${48 * 2 ** 20}\n`);
  });

  it("leaves to the program what looks like a flag of Node's own", async () => {
    const told = await run(cluster.image, "echo", "--env-file=/nope", "--inspect");
    expect({ ...told, stdout: told.stdout.toString() }).toEqual({
      exitCode: 0,
      stdout: "--env-file=/nope --inspect\n",
      stderr: "",
    });
    expect(await run("--env-file", "/nope", cluster.image, "true")).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining("--env-file /nope"),
    });
  });

  it("streams several MiB in and out, whole and in order", async () => {
    const bytes = randomBytes(5 * 2 ** 20);
    const told = await mayfly(["run", "-i", "--output-limit", "8m", cluster.image, "cat"], { stdin: bytes });
    expect(told.exitCode).toBe(0);
    expect(createHash("sha256").update(told.stdout).digest("hex")).toBe(
      createHash("sha256").update(bytes).digest("hex"),
    );
  });

  it("shows output while the program runs, and cancels it at Ctrl-C", async () => {
    const script = "trap 'echo asked; exit 0' TERM; echo begun; while :; do sleep 0.05; done";
    const told = await mayfly(["run", cluster.image, "sh", "-c", script], {
      onOutput: (pid) => process.kill(pid, "SIGINT"),
    });
    expect(told).toMatchObject({ exitCode: 130 });
    expect(told.stdout.toString()).toBe("begun\nasked\n");
  });

  it("exits with 124 at the run clock", async () => {
    expect((await run("--timeout", "500ms", cluster.image, "sleep", "60")).exitCode).toBe(124);
  });
});

describe("mayfly kill", () => {
  it("sends a program the signal that is named, and SIGKILL to one that is to end", async () => {
    const script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    const begin = async () => {
      const id = (await run("-d", cluster.image, "sh", "-c", script)).stdout.toString().trim();
      while (!(await mayfly(["logs", id])).stdout.toString().includes("ready"));
      return id;
    };
    const id = await begin();
    expect(await mayfly(["kill", "-s", "USR1", id])).toMatchObject({ exitCode: 0, stdout: Buffer.from(`${id}\n`) });
    expect(await cluster.get(id, 30)).toMatchObject({
      outcome: { kind: "exited", exitCode: 5 },
      stdout: { data: "ready\ngot\n" },
    });
    expect(await mayfly(["kill", id])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("run_not_running"),
    });
    const other = await begin();
    expect((await mayfly(["kill", other])).exitCode).toBe(0);
    expect((await cluster.get(other, 30)).outcome).toEqual({ kind: "signaled", signal: "SIGKILL" });
  });
});

describe("mayfly ps, inspect, logs and cancel", () => {
  it("find a run that was left to itself, and end it", async () => {
    const id = (await run("-d", cluster.image, "sh", "-c", "echo here; sleep 300")).stdout.toString().trim();
    await cluster.says(id, "here");
    expect((await mayfly(["ps"])).stdout.toString()).toContain(id);
    expect((await mayfly(["cancel", id])).exitCode).toBe(0);
    await cluster.get(id, 30);
    expect((await mayfly(["logs", id])).stdout.toString()).toBe("here\n");
    const inspected = JSON.parse((await mayfly(["inspect", "--json", id])).stdout.toString()) as Run;
    expect(inspected).toMatchObject({ id, outcome: { kind: "cancelled" } });
  });
});
