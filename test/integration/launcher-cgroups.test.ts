// cgroup.c on directories of the test's own, where every file can be looked at; and on the kernel's, where it has to work.

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parseCgroupLayout } from "../../runtime/cgroup/layout.ts";
import { startProcess } from "../../runtime/host/command.ts";
import { buildNative, runNative } from "../helpers/native.ts";

const NOT_COUNTED = "18446744073709551615";

let program: string;
beforeAll(async () => {
  program = await buildNative("cgroups", ["cgroup.c", "hierarchy.c", "device_rules.c"]);
});

interface Line {
  readonly word: string;
  readonly failed: string;
  readonly [field: string]: unknown;
}

async function calls(mountinfo: string, parent: string, ...words: readonly string[]): Promise<Line[]> {
  const { exitCode, stdout, stderr } = await runNative(program, mountinfo, parent, ...words);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** Directories that look like a host's hierarchies, and a list of mounts that says so. */
async function fakeHost(mounts: Readonly<Record<string, string>>): Promise<{ root: string; mountinfo: string }> {
  const root = await mkdtemp(join(tmpdir(), "mayfly-cgroups-"));
  const lines = ["22 1 8:1 / / rw - ext4 /dev/vda rw"];
  for (const [name, options] of Object.entries(mounts)) {
    await mkdir(join(root, name));
    const type = options.startsWith("v2 ") ? "cgroup2" : "cgroup";
    lines.push(`35 31 0:32 / ${join(root, name)} rw,relatime shared:9 - ${type} ${type} ${options.replace("v2 ", "")}`);
  }
  await writeFile(join(root, "mountinfo"), `${lines.join("\n")}\n`);
  return { root, mountinfo: join(root, "mountinfo") };
}

async function files(directory: string, contents: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(contents)) await writeFile(join(directory, name), text);
}

const read = (...path: string[]) => readFile(join(...path), "utf8");
const line = (lines: readonly Line[], word: string) => lines.find((one) => one.word === word);

describe("on one hierarchy (v2)", () => {
  const SANDBOX = {
    "memory.max": "",
    "memory.swap.max": "",
    "cpu.max": "",
    "pids.max": "",
    "cgroup.kill": "",
    "cgroup.procs": "",
  };

  async function host() {
    const fake = await fakeHost({ unified: "v2 rw,nsdelegate" });
    const unified = join(fake.root, "unified");
    await files(unified, { "cgroup.subtree_control": "" });
    await files(join(unified, "parent"), { "cgroup.subtree_control": "" });
    return { ...fake, unified, sandbox: join(unified, "parent/s") };
  }

  it("controllers are handed down twice: to the parent, and to what is below it", async () => {
    const { mountinfo, unified } = await host();
    const lines = await calls(mountinfo, "parent", "layout");
    expect(line(lines, "layout")).toMatchObject({
      version: 2,
      hierarchies: [{ path: unified, name: "", perSandbox: true }],
    });
    expect(await read(unified, "cgroup.subtree_control")).toBe("+cpu +memory +pids");
    expect(await read(unified, "parent/cgroup.subtree_control")).toBe("+cpu +memory +pids");
    // A directory is no cgroup: what rules its devices cannot be attached, and that is told.
    expect(line(lines, "open")).toMatchObject({ failed: "the device rules cannot be set" });
  });

  it("a controller that cannot be handed down is told", async () => {
    const { root, mountinfo } = await fakeHost({ unified: "v2 rw" });
    expect(root).not.toBe("");
    expect(line(await calls(mountinfo, "parent"), "open")?.failed).toBe("the parent cgroup cannot be made");
  });

  it("limits are written in the kernel's own words, and the init's pid is counted besides", async () => {
    const { mountinfo, sandbox } = await host();
    await files(sandbox, SANDBOX);
    const lines = await calls(mountinfo, "parent", "make", "s", "limit", "s", "67108864", "150000", "64");
    expect(line(lines, "limit")?.failed).toBe("");
    expect(await read(sandbox, "memory.max")).toBe("67108864");
    expect(await read(sandbox, "memory.swap.max")).toBe("0");
    expect(await read(sandbox, "cpu.max")).toBe("150000 100000");
    expect(await read(sandbox, "pids.max")).toBe("65");
  });

  it("a limit that cannot be written is a failure, but for that of swap which the host does not have", async () => {
    const { mountinfo, sandbox } = await host();
    const { "memory.swap.max": _, ...withoutSwap } = SANDBOX;
    await files(sandbox, withoutSwap);
    const limit = ["limit", "s", "1", "1000", "1"];
    expect(line(await calls(mountinfo, "parent", ...limit), "limit")?.failed).toBe("");
    const { "pids.max": __, ...withoutPids } = SANDBOX;
    const other = await host();
    await files(other.sandbox, withoutPids);
    expect(line(await calls(other.mountinfo, "parent", ...limit), "limit")?.failed).toBe("No such file or directory");
  });

  it("everything in a sandbox is killed by one word", async () => {
    const { mountinfo, sandbox } = await host();
    await files(sandbox, SANDBOX);
    await calls(mountinfo, "parent", "kill", "s");
    expect(await read(sandbox, "cgroup.kill")).toBe("1");
  });

  it("figures are read from the kernel's files, whatever else is in them", async () => {
    const { mountinfo, sandbox } = await host();
    await files(sandbox, {
      "memory.events": "low 0\nhigh 1\nmax 9\noom 2\noom_kill 3\noom_group_kill 4\n",
      "memory.peak": "1234567\n",
      "cpu.stat": "usage_usec 5000\nuser_usec 1\nsystem_usec 2\nnr_periods 3\nnr_throttled 4\nthrottled_usec 777\n",
    });
    const facts = { cpuUs: "5000", throttledUs: "777", peak: "1234567", oomKills: "3" };
    expect(line(await calls(mountinfo, "parent", "read", "s"), "read")).toMatchObject(facts);
  });

  it("a peak that this kernel does not count is told as such, and a counter it does not have is 0", async () => {
    const { mountinfo, sandbox } = await host();
    await files(sandbox, { "memory.events": "low 0\noom_kill_x 7\n", "cpu.stat": "" });
    const facts = { cpuUs: "0", throttledUs: "0", peak: NOT_COUNTED, oomKills: "0" };
    expect(line(await calls(mountinfo, "parent", "read", "s"), "read")).toMatchObject(facts);
  });

  it("figures of a sandbox that is gone are none", async () => {
    const { mountinfo } = await host();
    expect(line(await calls(mountinfo, "parent", "read", "s"), "read")?.failed).toBe("No such file or directory");
  });
});

describe("on a hierarchy for each controller (v1)", () => {
  const MOUNTS = {
    memory: "rw,memory",
    "cpu,cpuacct": "rw,cpu,cpuacct",
    pids: "rw,pids",
    devices: "rw,devices",
    cpuset: "rw,cpuset",
    systemd: "rw,xattr,name=systemd",
    unified: "v2 rw",
  };

  async function host() {
    const fake = await fakeHost(MOUNTS);
    await files(join(fake.root, "devices/parent"), { "devices.allow": "", "devices.deny": "", "cgroup.procs": "" });
    return fake;
  }

  it("those that limit or count are found, once also where two share one, and the others left alone", async () => {
    const { mountinfo, root } = await host();
    const lines = await calls(mountinfo, "parent", "layout", "make", "s");
    expect(line(lines, "open")?.failed).toBe("");
    const hierarchy = (name: string, perSandbox: boolean) => ({ path: join(root, name), name, perSandbox });
    expect(line(lines, "layout")).toMatchObject({
      version: 1,
      hierarchies: [
        hierarchy("memory", true),
        hierarchy("cpu,cpuacct", true),
        hierarchy("pids", true),
        hierarchy("devices", false),
      ],
    });
    expect(await readdir(join(root, "memory/parent"))).toEqual(["s"]);
    expect(await readdir(join(root, "cpu,cpuacct/parent"))).toEqual(["s"]);
    expect(await readdir(join(root, "cpuset"))).toEqual([]);
    expect((await readdir(join(root, "devices/parent"))).includes("s")).toBe(false);
    expect(await read(root, "devices/parent/devices.deny")).toBe("a");
    expect(await read(root, "devices/parent/devices.allow")).toBe("c 136:* rw"); // A file keeps the last word only.
  });

  it.each(["memory", "cpu,cpuacct", "pids", "devices"])(
    "a missing %s is told: no limit goes unenforced",
    async (name) => {
      const { mountinfo } = await fakeHost(
        Object.fromEntries(Object.entries(MOUNTS).filter(([mount]) => mount !== name)),
      );
      expect(line(await calls(mountinfo, "parent"), "open")?.failed).toMatch(/controller .* is not mounted/);
    },
  );

  it("limits, memory and swap together included, and figures are in the files of their controllers", async () => {
    const { mountinfo, root } = await host();
    await files(join(root, "memory/parent/s"), {
      "memory.limit_in_bytes": "",
      "memory.memsw.limit_in_bytes": "",
      "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
      "memory.max_usage_in_bytes": "4096\n",
    });
    const cpu = {
      "cpu.cfs_quota_us": "",
      "cpu.stat": "nr_periods 1\nthrottled_time 9000\n",
      "cpuacct.usage": "7000\n",
    };
    await files(join(root, "cpu,cpuacct/parent/s"), cpu);
    await files(join(root, "pids/parent/s"), { "pids.max": "" });
    const lines = await calls(mountinfo, "parent", "limit", "s", "8192", "20000", "7", "read", "s");
    expect(line(lines, "limit")?.failed).toBe("");
    expect(await read(root, "memory/parent/s/memory.limit_in_bytes")).toBe("8192");
    expect(await read(root, "memory/parent/s/memory.memsw.limit_in_bytes")).toBe("8192");
    expect(await read(root, "cpu,cpuacct/parent/s/cpu.cfs_quota_us")).toBe("20000");
    expect(await read(root, "pids/parent/s/pids.max")).toBe("8");
    expect(line(lines, "read")).toMatchObject({ cpuUs: "7", throttledUs: "9", peak: "4096", oomKills: "5" });
  });
});

describe("a host without cgroups", () => {
  it("is told as such, and so is a list of mounts that cannot be read", async () => {
    const { mountinfo, root } = await fakeHost({});
    expect(line(await calls(mountinfo, "parent"), "open")?.failed).toBe("no cgroup file system is mounted");
    expect(line(await calls(join(root, "nothing"), "parent"), "open")?.failed).toBe("mountinfo cannot be read");
  });
});

describe("on this machine's own cgroups", () => {
  it("a sandbox is made, joined, killed and removed with what is nested in it; to remove it again is no failure", async () => {
    const parent = `mayfly-test-${randomBytes(4).toString("hex")}`;
    const layout = parseCgroupLayout(await readFile("/proc/self/mountinfo", "utf8"));
    const sleeper = startProcess(["sleep", "300"], { stdio: "ignore" });
    const gone = new Promise((resolve) => sleeper.once("exit", (_code, signal) => resolve(signal)));
    const call = (...words: string[]) => calls("/proc/self/mountinfo", parent, ...words);
    const made = await call("make", "s", "make", "s", "join", "s", String(sleeper.pid), "each");
    expect(made.every(({ failed }) => failed === "")).toBe(true);
    expect(new Set(made.filter(({ word }) => word === "each").map(({ name }) => name))).toEqual(new Set(["s"]));
    expect(await read("/proc", String(sleeper.pid), "cgroup")).toContain(`/${parent}/s\n`);
    await mkdir(join(layout.memory, parent, "s/deep"));
    await mkdir(join(layout.memory, parent, "s/deep/er"));
    expect(line(await call("remove", "s"), "remove")?.failed).toBe("Device or resource busy");
    await call("kill", "s");
    expect(await gone).toBe("SIGKILL");
    for (;;) if (line(await call("remove", "s"), "remove")?.failed === "") break;
    expect((await call("remove", "s", "each")).map(({ word }) => word)).toEqual(["open", "remove"]);
    for (const hierarchy of layout.all) await rmdir(join(hierarchy, parent)).catch(() => {});
  });
});
