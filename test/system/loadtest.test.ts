// The load test itself, with the real k6 and a whole stack: that it passes what is good, fails what is not, and leaves nothing.

import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { ROOT } from "../helpers/process.ts";

/** Several times what it takes; the set-up has built k6. */
const LIMIT_MS = 300_000;

let work: string;
beforeAll(async () => {
  expect(existsSync(join(ROOT, ".tools/bin/k6")), "k6 is there: sh loadtest/install-k6.sh").toBe(true);
  work = await mkdtemp(join(tmpdir(), "mayfly-loads-"));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** Its temporary directories are below `work`, where nothing is to be left of them. */
async function loadtest(...args: string[]) {
  const child = startProcess([process.execPath, join(ROOT, "loadtest/run.ts"), ...args], {
    env: { TMPDIR: work },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => said.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stderr: stderrTail, stdout: Buffer.concat(said).toString() };
}

it(
  "smoke passes, shows where the time went, and leaves nothing behind",
  async () => {
    const summaryFile = join(work, "summary.json");
    const { exitCode, stdout, stderr } = await loadtest("smoke", "--duration", "3s", "--summary", summaryFile);
    expect(exitCode, stdout + stderr).toBe(0);
    expect(stdout).toContain("all thresholds held");
    const summary = JSON.parse(await readFile(summaryFile, "utf8"));
    expect(summary).toMatchObject({ scenario: "smoke", rate: 2, durationS: 3, crossed: [], answers: { other: 0 } });
    expect(summary.asked).toBeGreaterThan(0);
    expect(summary.answers["200"]).toBe(summary.asked);
    expect(summary.finished).toBe(summary.asked);
    for (const phase of ["queue", "pull", "prepare", "start", "run", "collect", "in all"])
      expect(summary.times[phase].count, phase).toBe(summary.asked);
    expect(await readdir(work)).toEqual(["summary.json"]);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0] ?? "";
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  },
  LIMIT_MS,
);

it(
  "fails when a threshold is crossed: one caller cannot ask for five thousand runs a second, one after the other",
  async () => {
    const { exitCode, stdout } = await loadtest("cold", "--rate", "5000", "--duration", "2s");
    expect(exitCode).toBe(1);
    expect(stdout).toContain("crossed:\n  dropped_iterations: count==0");
  },
  LIMIT_MS,
);

it("names the scenarios that there are, to who asks for another", async () => {
  const { exitCode, stderr } = await loadtest("stedy");
  expect(exitCode).toBe(1);
  expect(stderr).toContain("unknown scenario stedy; there are smoke, cold, steady");
});
