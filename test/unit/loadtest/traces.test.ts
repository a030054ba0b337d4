// The leak check's eyes: what is left behind is seen, and what was there before is not held against anybody.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { leaks, traces } from "../../../loadtest/traces.ts";

let stateDir: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "mayfly-traces-"));
});
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(stateDir, { recursive: true });
});

const look = () => traces({ hostId: "traces-test", stateDir, pids: { gateway: 0, worker: process.pid } });

it("sees a directory, a process and a descriptor that are left", async () => {
  const before = await look();
  mkdirSync(join(stateDir, "sandboxes/run-1"), { recursive: true });
  child = spawn("sleep", ["1000"]);
  await once(child, "spawn");
  const fd = openSync(stateDir, "r");
  const left = leaks(before, await look());
  closeSync(fd);
  expect(left).toMatchObject({
    directories: [join(stateDir, "sandboxes/run-1")],
    processes: ["sleep 1000"],
    descriptors: expect.arrayContaining([`worker ${stateDir} #1`]),
  });
});

it("takes what is there no longer for no leak, and two of a kind for two", async () => {
  const none = await look();
  const one = { ...none, mounts: ["a"] };
  expect(leaks(one, none)).toEqual({});
  expect(leaks(one, { ...one, mounts: ["a", "a", "b"] })).toEqual({ mounts: ["a", "b"] });
});
