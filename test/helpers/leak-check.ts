// Asks the kernel, not Mayfly, what there is of one host's sandboxes: before and after must be the same.

import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { listCgroups } from "../../runtime/cgroup/cgroup.ts";
import { parseCgroupLayout } from "../../runtime/cgroup/layout.ts";
import { blanksAt } from "../../runtime/index.ts";

export interface Traces {
  readonly mounts: string[];
  readonly cgroups: string[];
  /** Command lines of shims, inits, and of everything inside the host's cgroups, but for blanks: those are kept on purpose. */
  readonly processes: string[];
  /** Command lines of the host's launcher and its makers. */
  readonly launchers: string[];
  /** Network namespaces that some process of those is in, but the worker's own. */
  readonly networkNamespaces: string[];
  readonly directories: string[];
  /** Open descriptors of the worker. */
  readonly descriptors: Record<string, number>;
}

export interface HostUnderTest {
  readonly hostId: string;
  readonly stateDir: string;
  /** Of the worker process; without it no descriptors are counted. */
  readonly pid?: number;
}

/** What stands on the machine now of this host. */
export async function traces(host: HostUnderTest): Promise<Traces> {
  const mountinfo = await readFile("/proc/self/mountinfo", "utf8");
  const layout = parseCgroupLayout(mountinfo);
  // Asked before and after: one that is made or used meanwhile is in one of the answers.
  const before = (await blanksAt(host.stateDir)).cgroups;
  const cgroups = await listCgroups(layout, `mayfly-${host.hostId}`);
  const found = await processesOf(host);
  const blanks = new Set([...before, ...(await blanksAt(host.stateDir)).cgroups]);
  const mine = found.filter(({ kind, cgroup }) => kind === "sandbox" && !(cgroup && blanks.has(cgroup)));
  const own = await readlink("/proc/self/ns/net");
  const namespaces = await Promise.all(mine.map(({ pid }) => readlink(`/proc/${pid}/ns/net`).catch(() => own)));
  return {
    mounts: mountinfo
      .split("\n")
      .filter((line) => line.includes(host.stateDir) || / (overlay|tmpfs) mayfly /.test(line)),
    cgroups: cgroups.filter((name) => !blanks.has(name)),
    processes: mine.map(({ command }) => command),
    launchers: found.filter(({ kind }) => kind === "launcher").map(({ command }) => command),
    networkNamespaces: [...new Set(namespaces)].filter((namespace) => namespace !== own),
    directories: await tree(join(host.stateDir, "sandboxes"), 2),
    descriptors: host.pid === undefined ? {} : await descriptorsOf(host.pid),
  };
}

interface Found {
  readonly kind: "sandbox" | "launcher";
  readonly pid: string;
  readonly command: string;
  /** Name of the sandbox's cgroup that it is in. */
  readonly cgroup: string | undefined;
}

/** Anything but the leftovers of a sandbox is left out: helpers of other tests may run beside this one. */
async function processesOf(host: HostUnderTest): Promise<Found[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => processOf(pid, host)));
  return found.filter((process) => process !== undefined);
}

async function processOf(pid: string, host: HostUnderTest): Promise<Found | undefined> {
  try {
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ").trim();
    const cgroups = await readFile(`/proc/${pid}/cgroup`, "utf8");
    const cgroup = cgroups.match(new RegExp(`/mayfly-${host.hostId}/([^/\n]+)`))?.[1];
    const isOurs = (program: string) => command.includes(program) && command.includes(host.stateDir);
    if (cgroup !== undefined || isOurs("mayfly-shim")) return { kind: "sandbox", pid, command, cgroup };
    return isOurs("mayfly-launcher") ? { kind: "launcher", pid, command, cgroup } : undefined;
  } catch {
    return undefined; // It has ended meanwhile.
  }
}

async function tree(directory: string, depth: number): Promise<string[]> {
  const names = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = await Promise.all(
    names.map(async (entry) => {
      const path = join(directory, entry.name);
      return entry.isDirectory() && depth > 1 ? [path, ...(await tree(path, depth - 1))] : [path];
    }),
  );
  return below.flat().sort();
}

/** By what they are: a path, or `socket`, `pipe`, `anon_inode`. */
export async function descriptorsOf(pid: number): Promise<Record<string, number>> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []); // A process that is gone has none.
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  const counts: Record<string, number> = {};
  for (const link of links.filter((target) => target !== "")) {
    const kind = link.startsWith("/") ? link : (link.split(":")[0] ?? link);
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}
