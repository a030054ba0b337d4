// npm run bench, quickly and with what the tests' set-up installs: that it measures, cleans up, and says it in its form.
// What it measures is no test's business.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { ROOT } from "../helpers/process.ts";

const CONTENDERS = ["mayfly-http", "mayfly-runtime", "mayfly-runtime-cold", "runc", "floor", "floor-joined"];
/** Many times what it takes. */
const LIMIT_MS = 600_000;
const FIGURES = ["n", "min", "p50", "p90", "p99", "max"];

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-bench-test-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const bench = (...args: string[]) => end([process.execPath, join(ROOT, "loadtest/bench/main.ts"), ...args]);

/** From a working directory that has nothing to do with it. */
async function end(argv: readonly [string, ...string[]]) {
  const child = startProcess(argv, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  const said: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => said.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  return { pid: child.pid, exitCode, stderr: stderrTail, stdout: Buffer.concat(said).toString() };
}

/** What the run of this process worked with, wherever it may be found afterwards. Another run may be under way beside it. */
async function traces(pid: number | undefined): Promise<string[]> {
  const name = `mayfly-bench-${pid}`;
  const isOurs = (entry: string) => entry === name || entry.startsWith(`${name}-`);
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  const hierarchies = await readdir("/sys/fs/cgroup", { withFileTypes: true });
  const places = ["", ...hierarchies.filter((entry) => entry.isDirectory()).map((entry) => entry.name)];
  const below = await Promise.all(places.map((place) => readdir(join("/sys/fs/cgroup", place))));
  return [
    ...mounts.filter((line) => line.includes(`/${name}-`)),
    ...(await readdir("/var/tmp")).filter(isOurs),
    ...below.flat().filter(isOurs),
  ];
}

it("refuses a suite that it does not have, and names those there are", async () => {
  const { exitCode, stderr } = await bench("--suite", "stat");
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/"stat"; there are start, throughput/);
});

it(
  "is a command, too: mayfly bench, with the same flags, words and exit codes",
  async () => {
    const mayfly = async (...args: string[]) => ({
      ...(await end([join(ROOT, "cli/mayfly"), "bench", ...args])),
      pid: 0,
    });
    for (const args of [["--help"], ["--suite", "stat"], ["--nonsense"]])
      expect(await mayfly(...args)).toEqual({ ...(await bench(...args)), pid: 0 });
    const file = "here.json";
    expect(await mayfly("--suite", "queue", "--quick", "--json", file)).toMatchObject({ exitCode: 0, stderr: "" });
    expect(Object.keys(JSON.parse(await readFile(join(directory, file), "utf8")).suites)).toEqual(["queue"]);
  },
  LIMIT_MS,
);

it(
  "measures everybody, says it as a table and as JSON, and leaves nothing behind",
  async () => {
    const file = join(directory, "bench.json");
    const flags = ["--suite", "start", "--quick", "--json", file, "--contenders", CONTENDERS.join(",")];
    const { pid, exitCode, stdout, stderr } = await bench(...flags);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    const { machine, suites } = JSON.parse(await readFile(file, "utf8"));
    expect(Object.keys(machine)).toEqual(
      expect.arrayContaining(["cpus", "memoryBytes", "kernel", "distribution", "cgroups", "node"]),
    );
    const { rows, ratios } = suites.start;
    expect(rows.map(({ name }: { name: string }) => name)).toEqual(CONTENDERS);
    for (const row of rows) {
      expect(row, row.note).toMatchObject({ unit: "ms", note: expect.any(String) });
      for (const figure of FIGURES) expect(row[figure], `${row.name} ${figure}: ${row.note}`).toBeGreaterThan(0);
      expect(stdout).toContain(row.name);
    }
    expect(ratios.map(({ name }: { name: string }) => name)).toEqual([
      "runc/mayfly-http",
      "mayfly-runtime/floor",
      "mayfly-runtime-cold/floor",
      "mayfly-runtime/floor-joined",
      "mayfly-runtime-cold/floor-joined",
    ]);
    for (const { value } of ratios) expect(value).toBeGreaterThan(0);
    expect(await traces(pid)).toEqual([]);
  },
  LIMIT_MS,
);

it(
  "pulls images as skopeo and umoci do, and says how much memory that took and what runs noticed",
  async () => {
    const file = join(directory, "pull.json");
    const narrow = ["--contenders", "mayfly-http,mayfly-runtime", "--cache", join(directory, "cache")];
    const { pid, exitCode, stderr } = await bench("--suite", "pull", "--quick", "--json", file, ...narrow);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const { rows, ratios } = JSON.parse(await readFile(file, "utf8")).suites.pull;
    const measured = rows.filter(({ n }: { n: number }) => n > 0).map(({ name }: { name: string }) => name);
    expect(measured).toEqual([
      ...["mayfly five-gzip", "skopeo-umoci five-gzip", "mayfly one-gzip", "skopeo-umoci one-gzip", "mayfly five-zstd"],
      ...["mayfly memory", "run alone", "run while pulling"],
    ]);
    expect(ratios.map(({ name }: { name: string }) => name)).toEqual([
      "skopeo-umoci/mayfly five-gzip",
      "skopeo-umoci/mayfly one-gzip",
      "p99 run while pulling/run alone",
    ]);
    expect(await traces(pid)).toEqual([]);
  },
  LIMIT_MS,
);

it(
  "fills a queue, keeps many runs and many watchers, and measures what becomes of one run among them",
  async () => {
    const file = join(directory, "many.json");
    const { pid, exitCode, stderr } = await bench(
      "--suite",
      "list,watchers,batch,flood,cancel",
      "--quick",
      "--json",
      file,
    );
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const { suites } = JSON.parse(await readFile(file, "utf8"));
    expect(Object.keys(suites)).toEqual(["list", "watchers", "batch", "flood", "cancel"]);
    for (const { rows } of Object.values<{ rows: { name: string; n: number; note: string }[] }>(suites))
      for (const { name, n, note } of rows) expect(n, `${name}: ${note}`).toBeGreaterThan(0);
    expect(await traces(pid)).toEqual([]);
  },
  LIMIT_MS,
);
