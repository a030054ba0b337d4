// File handling of both versions on a directory of our own: a kernel shows only one of them.

import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listCgroups, readUsage, removeCgroup } from "../../../../runtime/cgroup/cgroup.ts";
import type { CgroupLayout } from "../../../../runtime/cgroup/layout.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mayfly-cgroup-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const v2 = (): CgroupLayout => ({
  version: 2,
  kind: "v2",
  memory: root,
  cpu: root,
  cpuacct: root,
  pids: root,
  all: [root],
});
const v1 = (): CgroupLayout => {
  const [memory, cpu, cpuacct, pids] = ["memory", "cpu", "cpuacct", "pids"].map((name) => join(root, name)) as [
    string,
    string,
    string,
    string,
  ];
  return { version: 1, kind: "v1", memory, cpu, cpuacct, pids, all: [memory, cpu, cpuacct, pids] };
};

async function write(files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

describe("a cgroup's counters", () => {
  it("are undefined when the cgroup is gone, and never made up", async () => {
    expect(await readUsage(v2(), "/mayfly/none")).toBeUndefined();
    expect(await readUsage(v1(), "/mayfly/none")).toBeUndefined();
  });

  it("are read on a v2 host", async () => {
    await write({
      "m/r/memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n",
      "m/r/memory.peak": "1048576\n",
      "m/r/cpu.stat":
        "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_periods 3\nnr_throttled 1\nthrottled_usec 1500\n",
    });
    expect(await readUsage(v2(), "/m/r")).toEqual({
      cpuMs: 2.5,
      throttledMs: 1.5,
      peakMemoryBytes: 1_048_576,
      oomKills: 2,
    });
  });

  it("are read on a v2 host whose kernel has no memory.peak, without the peak", async () => {
    await write({ "m/r/memory.events": "oom_kill 1\n", "m/r/cpu.stat": "usage_usec 1000\n" });
    expect(await readUsage(v2(), "/m/r")).toEqual({
      cpuMs: 1,
      throttledMs: 0,
      peakMemoryBytes: undefined,
      oomKills: 1,
    });
  });

  it("are read on a v1 host", async () => {
    await write({
      "memory/m/r/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
      "memory/m/r/memory.max_usage_in_bytes": "4096\n",
      "cpuacct/m/r/cpuacct.usage": "7000000\n",
      "cpu/m/r/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 9000000\n",
    });
    expect(await readUsage(v1(), "/m/r")).toEqual({ cpuMs: 7, throttledMs: 9, peakMemoryBytes: 4096, oomKills: 4 });
  });
});

describe("removing a cgroup", () => {
  it("removes what is below it first, in every hierarchy", async () => {
    for (const hierarchy of v1().all) await mkdir(join(hierarchy, "m/r/nested/deeper"), { recursive: true });
    await removeCgroup(v1(), "/m/r");
    for (const hierarchy of v1().all) expect(await readdir(join(hierarchy, "m"))).toEqual([]);
  });

  it("is safe to repeat", async () => {
    await removeCgroup(v2(), "/m/never-was");
    await removeCgroup(v2(), "/m/never-was");
  });

  it("lists each cgroup once, whatever hierarchies it is in", async () => {
    await mkdir(join(root, "memory/m/a"), { recursive: true });
    await mkdir(join(root, "cpu/m/a"), { recursive: true });
    await mkdir(join(root, "pids/m/b"), { recursive: true });
    expect((await listCgroups(v1(), "m")).sort()).toEqual(["a", "b"]);
  });
});
