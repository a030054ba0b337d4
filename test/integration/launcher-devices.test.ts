// The program that rules devices on cgroup v2: this kernel takes it, and it does what it says. It needs no controller, so it can be
// tried on a hybrid host as well.

import { randomBytes } from "node:crypto";
import { mkdir, readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { buildNative, runNative } from "../helpers/native.ts";

it("allows reading and writing what the policy names, and nothing else, and makes no nodes", async () => {
  const program = await buildNative("devices", ["device_rules.c"]);
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  const unified = mounts.match(/^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m)?.[1];
  if (unified === undefined) throw new Error("no cgroup2 hierarchy is mounted");
  const cgroup = join(unified, `mayfly-test-${randomBytes(4).toString("hex")}`);
  await mkdir(cgroup);
  try {
    const tries = [
      "r:/dev/null",
      "w:/dev/null",
      "r:/dev/zero",
      "r:/dev/kmsg",
      "w:/dev/kmsg",
      "n:/dev/null",
      "n:/dev/zero",
    ];
    const { stdout, stderr, exitCode } = await runNative(program, cgroup, ...tries, "r:/etc/passwd");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const refused = "Operation not permitted";
    expect(stdout.trim().split("\n")).toEqual([
      "r:/dev/null allowed",
      "w:/dev/null allowed",
      `r:/dev/zero ${refused}`,
      `r:/dev/kmsg ${refused}`,
      `w:/dev/kmsg ${refused}`,
      `n:/dev/null ${refused}`,
      `n:/dev/zero ${refused}`,
      "r:/etc/passwd allowed",
    ]);
  } finally {
    await rmdir(cgroup);
  }
});
