// What the benchmark reads of the machine that it runs on.

import { describe, expect, it } from "vitest";
import { cgroupKind, hierarchiesOf } from "../../../../loadtest/bench/cgroups.ts";
import { distributionOf } from "../../../../loadtest/bench/machine.ts";
import { parseMeminfo, shareOf } from "../../../../loadtest/bench/memory.ts";
import { mountsBelow } from "../../../../loadtest/bench/workshop.ts";

const V1 = "35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct";
const V2 = "30 24 0:26 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate";
const DISK = "24 1 254:0 / / rw,relatime - ext4 /dev/vda rw";

describe("cgroups", () => {
  it("are told apart by what is mounted", () => {
    expect([[DISK], [DISK, V1], [DISK, V2], [V1, V2]].map((lines) => cgroupKind(lines.join("\n")))).toEqual([
      "none",
      "v1",
      "v2",
      "hybrid",
    ]);
  });

  it("are found with the controllers of each hierarchy", () => {
    expect(hierarchiesOf(`${DISK}\n${V1}\n`)).toEqual([
      { path: "/sys/fs/cgroup/cpu,cpuacct", version: 1, controllers: ["rw", "cpu", "cpuacct"] },
    ]);
  });
});

describe("mounts", () => {
  it("are those below the directory, and not those of a neighbour with a longer name", () => {
    const line = (path: string) => `40 24 0:40 / ${path} rw - overlay overlay rw`;
    const text = [DISK, line("/var/tmp/bench-a/x"), line("/var/tmp/bench-ab/x"), line("/var/tmp/bench-a/x/y")].join(
      "\n",
    );
    expect(mountsBelow(text, "/var/tmp/bench-a")).toEqual(["/var/tmp/bench-a/x", "/var/tmp/bench-a/x/y"]);
  });
});

describe("memory", () => {
  const meminfo = (free: number, slab: number) =>
    `MemTotal:  1000000 kB\nMemFree:    ${free} kB\nSlab:       ${slab} kB\nKernelStack:  16 kB\nPageTables:  8 kB\nPercpu:  4 kB\n`;

  it("is what is not free, whoever has it", () => {
    expect(parseMeminfo(meminfo(900_000, 50))).toEqual({
      usedKib: 100_000,
      slabKib: 50,
      kernelStackKib: 16,
      pageTablesKib: 8,
      percpuKib: 4,
    });
  });

  it("is divided among those who came", () => {
    const share = shareOf(parseMeminfo(meminfo(900_000, 50)), parseMeminfo(meminfo(899_000, 150)), 10);
    expect(share.kib).toBe(100);
    expect(share.note).toContain("slab 10, kernel stacks 0");
  });
});

describe("the distribution", () => {
  it.each([
    ['NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"],
    ["PRETTY_NAME=Arch\n", "Arch"],
    ["", "unknown"],
  ])("of %j is %s", (text, name) => expect(distributionOf(text)).toBe(name));
});
