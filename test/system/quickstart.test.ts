// The README's first command, twice, in a state directory of its own.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { ROOT } from "../helpers/process.ts";

let stateDir: string;
beforeAll(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "mayfly-quickstart-"));
});
afterAll(() => rm(stateDir, { recursive: true, force: true }));

async function quickstart(...args: string[]) {
  const child = startProcess([process.execPath, join(ROOT, "infra/quickstart.ts"), ...args], {
    env: { MAYFLY_STATE_DIR: stateDir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => said.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stderr: stderrTail, stdout: Buffer.concat(said).toString() };
}

it("refuses an argument that it does not have", async () => {
  const { exitCode, stderr } = await quickstart("--kep");
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain("--kep");
});

it.each(["the first time", "and again"])(
  "runs a container through the HTTP API, prints what it said, and stops everything: %s",
  async () => {
    const { exitCode, stdout } = await quickstart();
    expect(exitCode).toBe(0);
    expect(stdout).toContain("Hello from a fresh container");
    expect(stdout).toContain("exited 0");
    for (const phase of ["queue", "pull", "prepare", "start", "run", "collect"]) expect(stdout).toContain(phase);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0] ?? "";
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  },
);

it("npm start runs the same stack in the foreground, until Ctrl-C", async () => {
  const child = startProcess([process.execPath, join(ROOT, "infra/start.ts")], {
    env: { MAYFLY_STATE_DIR: stateDir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = finished(child);
  const url = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /(http:\/\/127\.0\.0\.1:\d+)\/docs/.exec(said)?.[1];
      if (found) resolve(found);
    });
    ended.then(({ stderrTail }) => reject(new Error(`it ended: ${said}${stderrTail}`)), reject);
  });
  expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ ready: true, hosts: 1 });
  child.kill("SIGINT");
  expect((await ended).exitCode).toBe(0);
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
});
