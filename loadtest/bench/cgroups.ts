// Where this host's cgroups are, and the benchmark's own place in them: one directory by its process id, in every hierarchy,
// that is removed with all that anybody has left in it.

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** What Mayfly limits, and so what a container must be in. */
const CONTROLLERS = ["cpu", "cpuacct", "memory", "pids"] as const;

const REMOVE_TRIES = 100;
const REMOVE_PAUSE_MS = 20;

interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
}

/** Of lines such as `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory` (proc_pid_mountinfo(5)). */
export function hierarchiesOf(mountinfo: string): Hierarchy[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const path = before.split(" ")[4];
    const [type, , options = ""] = after.split(" ");
    if (!path || (type !== "cgroup" && type !== "cgroup2")) return [];
    return [{ path, version: type === "cgroup2" ? 2 : 1, controllers: options.split(",") }];
  });
}

export function cgroupKind(mountinfo: string): "v1" | "v2" | "hybrid" | "none" {
  const versions = new Set(hierarchiesOf(mountinfo).map(({ version }) => version));
  if (versions.size === 2) return "hybrid";
  if (versions.has(2)) return "v2";
  return versions.has(1) ? "v1" : "none";
}

const here = () => hierarchiesOf(readFileSync("/proc/self/mountinfo", "utf8"));

/**
 * Makes `name` below the root of each hierarchy that limits a container, and gives the directories: one of v2, or one a v1
 * hierarchy. Throws if a controller is mounted nowhere.
 */
export function makeCgroupParents(name: string): string[] {
  const all = here();
  const v1 = all.filter(({ version }) => version === 1);
  const roots = v1.length > 0 ? CONTROLLERS.map((each) => rootOf(v1, each)) : all.map(({ path }) => path);
  if (roots.length === 0) throw new Error("no cgroup file system is mounted");
  const parents = [...new Set(roots)].map((root) => join(root, name));
  for (const parent of parents) mkdirSync(parent, { recursive: true });
  // In v2 a controller counts only where its parent hands it down.
  if (v1.length === 0) {
    for (const directory of [...roots, ...parents])
      writeFileSync(join(directory, "cgroup.subtree_control"), "+cpu +memory +pids");
  }
  return parents;
}

function rootOf(v1: readonly Hierarchy[], controller: string): string {
  const found = v1.find(({ controllers }) => controllers.includes(controller));
  if (!found) throw new Error(`the cgroup controller ${controller} is not mounted`);
  return found.path;
}

/** Bytes charged to each cgroup below `name` in the memory hierarchy, the kernel's own for it included. */
export function memoryCharged(name: string): number[] {
  const all = here();
  const v1 = all.filter(({ version }) => version === 1);
  const root = v1.length > 0 ? rootOf(v1, "memory") : (all[0]?.path ?? "/");
  const file = v1.length > 0 ? "memory.usage_in_bytes" : "memory.current";
  return readdirSync(join(root, name), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => Number(readFileSync(join(root, name, entry.name, file), "utf8")));
}

/**
 * Ends whatever is still in `name`, or in what is named `name-…`, of any hierarchy, and removes those cgroups. Engines leave
 * containers when their command line is killed; whoever is in a cgroup of ours is of our making.
 */
export async function removeCgroups(name: string): Promise<void> {
  for (let tries = 0; tries < REMOVE_TRIES && treesOf(name).length > 0; tries++) {
    for (const tree of treesOf(name)) removeTree(tree);
    await delay(REMOVE_PAUSE_MS);
  }
  const left = treesOf(name);
  if (left.length > 0) throw new Error(`these cgroups could not be removed: ${left.join(", ")}`);
}

function treesOf(name: string): string[] {
  return here().flatMap(({ path }) =>
    readdirSync(path)
      .filter((entry) => entry === name || entry.startsWith(`${name}-`))
      .map((entry) => join(path, entry)),
  );
}

/** As far as it goes: a process that has just been killed holds its cgroup for a moment more. */
function removeTree(directory: string): void {
  try {
    for (const pid of readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n").filter(Boolean))
      process.kill(Number(pid), "SIGKILL");
    for (const entry of readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(join(directory, entry.name));
    rmdirSync(directory);
  } catch {
    return; // It is gone already, or is asked for again.
  }
}
