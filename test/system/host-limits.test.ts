// A host whose own hard limits are lower than what a container is to have: its containers have as much as there is.
//
// The limits are this process' own, which all that it starts inherits; they cannot be raised again, so each test lowers them further.

import { describe, expect, it } from "vitest";
import { runProgram } from "../../runtime/host/command.ts";
import { makeRuntime, type UnderTestOptions } from "../helpers/runtime.ts";

const DRIVERS: readonly [name: string, options: UnderTestOptions][] = [
  ["launcher", { driver: "launcher" }],
  ["oci", { driver: "oci" }],
];

describe.each([
  ["more than a container's soft limit", 2048, "1024\n2048\n"],
  ["less", 512, "512\n512\n"],
])("a hard limit of descriptors that is %s", (_what, limit, said) => {
  it.each(DRIVERS)("is what a container has: %s", async (_driver, options) => {
    await runProgram(["prlimit", "--pid", String(process.pid), `--nofile=${limit}:${limit}`]);
    const under = await makeRuntime(options);
    try {
      expect((await under.sh("ulimit -Sn; ulimit -Hn")).stdout).toBe(said);
    } finally {
      await under.stop();
    }
  });
});
