import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LogFile } from "../../../infra/log-file.ts";
import { Process } from "../../../infra/process.ts";

const LIMIT_MS = 20_000;

let directory: string;
let processes: Process[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mayfly-infra-"));
  processes = [];
});

afterEach(async () => {
  await Promise.all(processes.map((each) => each.stop(0)));
  rmSync(directory, { recursive: true });
});

function sh(script: string): Process {
  const env = { PATH: "/usr/bin:/bin", LANG: "C.UTF-8" };
  const child = new Process({ name: "child", argv: ["sh", "-c", script], env, logPath: join(directory, "child.log") });
  processes.push(child);
  return child;
}

it("gives the event that a process prints, among whatever else it prints", async () => {
  const child = sh(
    `echo '{"event":"early"}'; echo '{no'; printf '{"event":"child.'; printf 'ready","port":7}\\n'; cat`,
  );
  expect(await child.event("child.ready", LIMIT_MS)).toEqual({ event: "child.ready", port: 7 });
});

it("rejects with the end of the log when the process dies before it is ready", async () => {
  const child = sh("echo out; echo the reason >&2; exit 3");
  await expect(child.event("child.ready", LIMIT_MS)).rejects.toThrow(
    /child exited 3; the end of .*child\.log:\n[\s\S]*the reason/,
  );
});

it("rejects when the program does not exist", async () => {
  const child = sh("exec /nonexistent/program");
  await expect(child.answers(() => Promise.reject(new Error("not yet")), LIMIT_MS)).rejects.toThrow(/nonexistent/);
});

it("rejects with the last refusal when the process does not answer in time", async () => {
  const child = sh("exec sleep 60");
  await expect(child.answers(() => Promise.reject(new Error("not yet")), 20)).rejects.toThrow(
    /does not answer within 0.02 s: not yet/,
  );
});

it("stops a process with SIGTERM, and again without effect", async () => {
  const child = sh(`trap 'echo asked; exit 0' TERM; echo '{"event":"up"}'; while :; do sleep 0.01; done`);
  await child.event("up", LIMIT_MS);
  await child.stop(LIMIT_MS);
  await child.stop(LIMIT_MS);
  expect(await child.gone).toBe("exited 0");
  expect(readFileSync(join(directory, "child.log"), "utf8")).toContain("asked");
});

it("ends a process with SIGKILL that does not heed SIGTERM", async () => {
  const child = sh(`trap '' TERM; echo '{"event":"up"}'; while :; do sleep 0.01; done`);
  await child.event("up", LIMIT_MS);
  await child.stop(50);
  expect(await child.gone).toBe("was ended by SIGKILL");
});

it("does not wait for ever for a pipe that a grandchild holds open", async () => {
  const child = sh("sleep 60 & echo $!");
  expect(await child.gone).toBe("exited 0");
  process.kill(Number(readFileSync(join(directory, "child.log"), "utf8")), "SIGKILL");
});

it("keeps a log within its bound, and the log before it", () => {
  const path = join(directory, "some.log");
  const log = new LogFile(path, 10);
  for (const text of ["first\n", "two\n", "three\n", "four\n"]) log.write(Buffer.from(text));
  expect(log.tail(5)).toBe("four");
  expect(readFileSync(`${path}.1`, "utf8")).toBe("three\n");
  log.close();
  new LogFile(path, 10).close();
  expect(readFileSync(`${path}.1`, "utf8")).toBe("four\n");
  expect(existsSync(`${path}.2`)).toBe(false);
});
