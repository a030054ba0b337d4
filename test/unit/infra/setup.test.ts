// The set-up, run on small projects of the test's own; npm is a stand-in that does what `npm ci` does to node_modules.

import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const NPM = `#!/bin/sh
echo "$@" >>npm-calls
mkdir -p node_modules/.bin
printf '#!/bin/sh\\necho v26.0.0\\n' >node_modules/.bin/node
chmod 755 node_modules/.bin/node
touch node_modules/.package-lock.json
`;

let project: string;

beforeEach(() => {
  project = join(mkdtempSync(join(tmpdir(), "mayfly-setup-")), "a project");
  for (const directory of ["infra", "runtime", "fake-bin"]) mkdirSync(join(project, directory), { recursive: true });
  cpSync(join(import.meta.dirname, "../../../infra/setup.sh"), join(project, "infra/setup.sh"));
  writeFileSync(join(project, "runtime/Makefile"), "built: source\n\tcp source built\n");
  writeFileSync(join(project, "runtime/source"), "");
  writeFileSync(join(project, "package-lock.json"), "{}");
  npmIs(NPM);
});

afterEach(() => rmSync(join(project, ".."), { recursive: true }));

const npmIs = (script: string) => {
  writeFileSync(join(project, "fake-bin/npm"), script);
  chmodSync(join(project, "fake-bin/npm"), 0o755);
};

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): ChildProcess {
  const env = { ...process.env, PATH: `${project}/fake-bin:${process.env.PATH}` };
  return spawn("sh", [join(project, "infra/setup.sh"), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
}

function end(child: ChildProcess): Promise<Ended> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve) => child.once("close", (exitCode) => resolve({ exitCode, stdout, stderr })));
}

const setup = (...args: string[]) => end(start(...args));
const npmCalls = () => readFileSync(join(project, "npm-calls"), "utf8").trim().split("\n").length;
const makeLockYounger = () =>
  utimesSync(join(project, "package-lock.json"), Date.now() / 1000 + 60, Date.now() / 1000 + 60);

describe("the set-up", () => {
  it("does what is missing and says so, and the second time nothing", async () => {
    const first = await setup();
    expect(first).toEqual({
      exitCode: 0,
      stdout: "setup: installing the Node packages\nsetup: building the native programs\n",
      stderr: "",
    });
    expect(existsSync(join(project, "runtime/built"))).toBe(true);
    expect(await setup()).toEqual({ exitCode: 0, stdout: "", stderr: "" });
  });

  it("installs again when the lock has changed, but not when a checkout only made it younger", async () => {
    await setup();
    makeLockYounger();
    await setup();
    expect(npmCalls()).toBe(1);
    writeFileSync(join(project, "package-lock.json"), '{"changed": true}');
    makeLockYounger();
    await setup();
    expect(npmCalls()).toBe(2);
  });

  it("shows what npm said when it fails, and does not believe the packages installed", async () => {
    npmIs("#!/bin/sh\necho the reason >&2\nexit 1\n");
    const failed = await setup();
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toMatch(/the reason\nsetup: this failed: npm ci/);
    npmIs(NPM);
    expect((await setup()).exitCode).toBe(0);
  });

  it("fails when npm has brought no Node 26", async () => {
    npmIs(NPM.replace("v26.0.0", "v20.0.0"));
    expect(await setup()).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("Node 26") });
  });

  it("waits for another set-up of the same folder", async () => {
    const holder = spawn("flock", [project, "cat"], { stdio: ["pipe", "pipe", "ignore"] });
    holder.stdin.write("held\n");
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    const child = start();
    const ended = end(child);
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    expect(existsSync(join(project, "node_modules"))).toBe(false);
    holder.stdin.end();
    expect((await ended).stdout).toMatch(/^setup: waiting for another set-up of this folder\nsetup: installing/);
  });

  it("refuses an argument that it does not know", async () => {
    expect(await setup("--with-test")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("--with-test;") });
  });
});
