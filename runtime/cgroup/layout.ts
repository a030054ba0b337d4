// Where the kernel shows its cgroups on this host: one hierarchy (v2), or one a controller (v1, and "hybrid").

/** Controllers whose files Mayfly reads, each with the directory where its hierarchy is mounted. */
export interface CgroupLayout {
  readonly version: 1 | 2;
  /** `hybrid` is version 1, with a v2 hierarchy beside it that limits nothing. */
  readonly kind: "v1" | "hybrid" | "v2";
  /** Of v2, all three are the same directory. */
  readonly memory: string;
  readonly cpu: string;
  readonly cpuacct: string;
  readonly pids: string;
  /** Every mounted hierarchy: a container has a directory in each. */
  readonly all: readonly string[];
}

interface CgroupMount {
  readonly path: string;
  readonly type: string;
  readonly options: readonly string[];
}

/**
 * Reads the text of /proc/self/mountinfo, of which one line is
 * `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory` (proc_pid_mountinfo(5)).
 * Throws if a controller that limits or device rules need is mounted nowhere: a limit that is not enforced must not be accepted.
 */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const mounts = mountinfo
    .split("\n")
    .map(parseMount)
    .filter((mount) => mount !== undefined);
  const v1 = mounts.filter((mount) => mount.type === "cgroup");
  const v2 = mounts.find((mount) => mount.type === "cgroup2");
  const all = mounts.map((mount) => mount.path);
  if (v1.length === 0) {
    if (!v2) throw new Error("no cgroup file system is mounted");
    return { version: 2, kind: "v2", memory: v2.path, cpu: v2.path, cpuacct: v2.path, pids: v2.path, all };
  }
  const where = (controller: string): string => {
    const mount = v1.find(({ options }) => options.includes(controller));
    if (!mount) throw new Error(`the cgroup controller ${controller} is not mounted`);
    return mount.path;
  };
  where("devices"); // Which devices a container may open is ruled by it.
  return {
    version: 1,
    kind: v2 ? "hybrid" : "v1",
    memory: where("memory"),
    cpu: where("cpu"),
    cpuacct: where("cpuacct"),
    pids: where("pids"),
    all,
  };
}

function parseMount(line: string): CgroupMount | undefined {
  const [before, after] = line.split(" - ");
  const path = before?.split(" ")[4];
  const [type, , options] = after?.split(" ") ?? [];
  if (!path || !options || (type !== "cgroup" && type !== "cgroup2")) return undefined;
  return { path, type, options: options.split(",") };
}
