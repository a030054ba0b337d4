// The probe on directories that look like a host's /proc, /sys and /lib: no machine is all of these hosts.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ProbeOptions, probeHost } from "../../../../runtime/host/probe.ts";
import { type HeardLog, heardLog } from "../../../helpers/heard-log.ts";

const CGROUP = "mayfly-h-probe";

let root: string;
let log: HeardLog;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mayfly-probe-"));
  log = heardLog();
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Files = Readonly<Record<string, string | undefined>>;

const mount = (path: string, type: string, options = "rw") =>
  `35 31 0:32 / /sys/fs/cgroup${path} rw,relatime shared:9 - ${type} ${type} ${options}`;

const LINUX: Files = {
  "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
  "proc/sys/user/max_user_namespaces": "15000\n",
  "proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow\n",
  "proc/filesystems": "nodev\tproc\n\text4\nnodev\toverlay\n",
  "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/vda1 cgroup.memory=nosocket quiet\n",
  "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
  "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0\n",
  "sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages": "0\n",
};

const V1 = ["memory", "cpu,cpuacct", "pids", "devices"].map((names) => mount(`/${names}`, "cgroup", `rw,${names}`));
const hybrid: Files = {
  ...LINUX,
  "proc/self/mountinfo": [...V1, mount("/unified", "cgroup2")].join("\n"),
  [`sys/fs/cgroup/memory/${CGROUP}/memory.limit_in_bytes`]: "",
  [`sys/fs/cgroup/memory/${CGROUP}/memory.max_usage_in_bytes`]: "",
  [`sys/fs/cgroup/memory/${CGROUP}/memory.memsw.limit_in_bytes`]: "",
  [`sys/fs/cgroup/cpu,cpuacct/${CGROUP}/cpu.cfs_quota_us`]: "",
  [`sys/fs/cgroup/pids/${CGROUP}/pids.max`]: "",
};

const inV2 = Object.fromEntries(
  ["memory.max", "memory.peak", "memory.swap.max", "cpu.max", "pids.max", "cgroup.kill"].map((name) => [
    `sys/fs/cgroup/${CGROUP}/${name}`,
    "",
  ]),
);
const v2: Files = {
  ...LINUX,
  ...inV2,
  "proc/self/mountinfo": mount("", "cgroup2", "rw,nsdelegate"),
  "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids\n",
  "sys/fs/cgroup/cgroup.subtree_control": "memory\n",
};

const SWAP_ON: Files = { "proc/swaps": `${LINUX["proc/swaps"]}/dev/vda2 partition 1048572 0 -2\n` };
const UNCOUNTED_SWAP: Files = { ...SWAP_ON, [`sys/fs/cgroup/${CGROUP}/memory.swap.max`]: undefined };

async function probe(files: Files, options: Partial<ProbeOptions> = {}) {
  for (const [path, text] of Object.entries(files)) {
    if (text === undefined) continue;
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const none = { executables: [], files: [], allowWeaker: [] };
  return probeHost({ ...none, oldestKernel: [5, 12], cgroup: CGROUP, log, root, uid: 0, ...options });
}

const told = () => log.events.map(({ event, fields }) => ({ event, ...fields }));

describe("a host that lacks nothing", () => {
  const ALL = { userNamespaces: true, overlayfs: true, seccomp: true, swapAccounting: true, memoryPeak: true };

  it("is told in one line: with hybrid cgroups", async () => {
    const { layout, facts } = await probe(hybrid);
    expect(layout.memory).toBe("/sys/fs/cgroup/memory");
    expect(facts.swapAccounting).toBe(true);
    expect(told()).toEqual([
      {
        event: "host.probed",
        kernel: "6.1.0-18-amd64",
        architecture: process.arch,
        cgroups: "hybrid",
        ...ALL,
        cgroupKill: false,
        swap: false,
        kernelMemoryAccounting: true,
        hugePages: false,
        hugePageAccounting: false,
        weaker: [],
      },
    ]);
  });

  it("is told in one line: with cgroup v2 alone, whose controllers are enabled", async () => {
    await probe({ ...v2, ...SWAP_ON });
    expect(told()).toMatchObject([{ event: "host.probed", cgroups: "v2", ...ALL, cgroupKill: true, swap: true }]);
    expect(await readFile(join(root, "sys/fs/cgroup/cgroup.subtree_control"), "utf8")).toBe("+cpu +pids");
  });

  it("keeps no cgroup of the probe's", async () => {
    const { [`sys/fs/cgroup/pids/${CGROUP}/pids.max`]: _, ...files } = hybrid;
    await mkdir(join(root, "sys/fs/cgroup/pids"), { recursive: true });
    await expect(probe(files)).rejects.toThrow("pids.max"); // It is new here, and empty.
    expect(await readdir(join(root, "sys/fs/cgroup/pids"))).toEqual([]);
  });
});

describe("what cannot be done without is refused, all of it in one error", () => {
  it.each<[string, Files, string]>([
    ["user namespaces", { "proc/sys/user/max_user_namespaces": "0\n" }, "user namespaces are off"],
    ["user namespaces in the kernel", { "proc/sys/user/max_user_namespaces": undefined }, "user namespaces are off"],
    ["overlayfs", { "proc/filesystems": "nodev\tproc\n" }, "overlayfs is missing"],
    ["seccomp", { "proc/sys/kernel/seccomp/actions_avail": undefined }, "no seccomp filters"],
    ["a limit of CPU", { [`sys/fs/cgroup/${CGROUP}/cpu.max`]: undefined }, "there is no cpu.max"],
    ["a kernel that is young enough", { "proc/sys/kernel/osrelease": "5.4.0-1\n" }, "needs 5.12 or later"],
    ["cgroups", { "proc/self/mountinfo": "" }, "no cgroup file system"],
  ])("%s", async (_, without, message) => {
    await expect(probe({ ...v2, ...without })).rejects.toMatchObject({
      reason: "host_unavailable",
      message: expect.stringContaining(message),
    });
  });

  it("and so is whoever is not root", async () => {
    await expect(probe({ ...v2, "proc/filesystems": "" }, { uid: 1000, executables: ["/none"] })).rejects.toThrow(
      /as root\ncannot execute \/none: .*\noverlayfs is missing$/,
    );
  });

  it("the line is told before that", async () => {
    await expect(probe({ ...v2, "proc/sys/user/max_user_namespaces": "0\n" })).rejects.toThrow();
    expect(told()).toMatchObject([{ event: "host.probed", userNamespaces: false }]);
  });
});

describe("a host that is weaker than the default", () => {
  const WEAK: readonly [string, Files][] = [
    ["uncounted-swap", UNCOUNTED_SWAP],
    ["uncounted-kernel-memory", { "proc/cmdline": "cgroup.memory=nosocket,nokmem\n" }],
    ["uncounted-huge-pages", { "sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages": "8\n" }],
  ];

  it.each(WEAK)("is refused by the name %s, and told how it would be allowed", async (name, files) => {
    await expect(probe({ ...v2, ...files })).rejects.toMatchObject({
      reason: "host_unavailable",
      message: expect.stringMatching(
        new RegExp(`^${name}: .*\nMAYFLY_ALLOW_WEAKER=${name} lets runs have this host all the same$`),
      ),
    });
    expect(told()).toMatchObject([{ event: "host.probed", weaker: [name] }]);
  });

  it("is refused on v1 too, where swap is counted together with memory", async () => {
    const uncounted = { ...SWAP_ON, [`sys/fs/cgroup/memory/${CGROUP}/memory.memsw.limit_in_bytes`]: undefined };
    await expect(probe({ ...hybrid, ...uncounted })).rejects.toThrow("uncounted-swap");
  });

  it("is let be with what is allowed, and only with that; the line says in what it is weaker", async () => {
    const files = { ...v2, ...UNCOUNTED_SWAP, "proc/cmdline": "cgroup.memory=nokmem\n" };
    await expect(probe(files, { allowWeaker: ["uncounted-swap"] })).rejects.toThrow(
      "\nMAYFLY_ALLOW_WEAKER=uncounted-swap,uncounted-kernel-memory lets",
    );
    const { facts } = await probe(files, { allowWeaker: ["uncounted-kernel-memory", "uncounted-swap"] });
    expect(facts).toMatchObject({ swap: true, swapAccounting: false, kernelMemoryAccounting: false });
    expect(told().at(-1)).toMatchObject({ weaker: ["uncounted-swap", "uncounted-kernel-memory"] });
  });

  it("is not one that does not count swap and has none, nor one that counts its huge pages", async () => {
    const mountinfo = mount("", "cgroup2", "rw,memory_hugetlb_accounting");
    const files = { "proc/self/mountinfo": mountinfo, [`sys/fs/cgroup/${CGROUP}/memory.swap.max`]: undefined };
    await probe({ ...v2, ...files, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "8\n" });
    expect(told()).toMatchObject([{ weaker: [], swapAccounting: false, hugePages: true }]);
  });
});
