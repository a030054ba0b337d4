import { describe, expect, it } from "vitest";
import { parseCgroupLayout } from "../../../../runtime/cgroup/layout.ts";

const mount = (path: string, type: string, options: string) =>
  `35 31 0:32 / ${path} rw,relatime shared:9 - ${type} ${type} ${options}`;

const V2 = mount("/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
const V1 = ["memory", "cpu,cpuacct", "pids", "devices"].map((names) =>
  mount(`/sys/fs/cgroup/${names}`, "cgroup", `rw,${names}`),
);

describe("the layout of a host's cgroups", () => {
  it("is refused when a controller that limits or device rules need is mounted nowhere", () => {
    for (const name of ["pids", "devices"]) {
      const without = V1.filter((line) => !line.includes(name)).join("\n");
      expect(() => parseCgroupLayout(without)).toThrow(name);
    }
    expect(() => parseCgroupLayout("")).toThrow("no cgroup file system");
  });

  it("is version 2 where one hierarchy holds all controllers", () => {
    const layout = parseCgroupLayout(`22 1 8:1 / / rw - ext4 /dev/vda rw\n${V2}\n`);
    expect(layout).toMatchObject({
      version: 2,
      kind: "v2",
      memory: "/sys/fs/cgroup",
      cpu: "/sys/fs/cgroup",
      all: ["/sys/fs/cgroup"],
    });
  });

  it("is version 1 where each controller has its own, also when two share one", () => {
    const layout = parseCgroupLayout(V1.join("\n"));
    expect(layout).toMatchObject({
      version: 1,
      kind: "v1",
      memory: "/sys/fs/cgroup/memory",
      cpu: "/sys/fs/cgroup/cpu,cpuacct",
      cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
    });
  });

  it("is version 1 on a hybrid host, and counts the empty v2 hierarchy among those to clean", () => {
    const layout = parseCgroupLayout([...V1, mount("/sys/fs/cgroup/unified", "cgroup2", "rw")].join("\n"));
    expect(layout).toMatchObject({ version: 1, kind: "hybrid" });
    expect(layout.all).toContain("/sys/fs/cgroup/unified");
  });
});
