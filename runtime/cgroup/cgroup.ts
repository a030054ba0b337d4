// One container's cgroup: made by the OCI runtime, read here, and removed here if the runtime did not.
//
//   (the runtime makes it) → readUsage → (the runtime removes it) → remove (nothing left to do, or the last resort)

import { readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isErrno, MayflyError } from "../../core/errors.ts";
import type { Usage } from "../task/sandbox.ts";
import type { CgroupLayout } from "./layout.ts";

/** How often removal is tried, and the pause between: a killed process leaves its cgroup within a few ms. */
const REMOVE_TRIES = 100;
const REMOVE_PAUSE_MS = 10;

/** Counters of the cgroup at `path` (absolute below the hierarchies); undefined if it is not there. */
export async function readUsage(layout: CgroupLayout, path: string): Promise<Usage | undefined> {
  try {
    return layout.version === 2 ? await readUsageV2(join(layout.memory, path)) : await readUsageV1(layout, path);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
}

async function readUsageV1(layout: CgroupLayout, path: string): Promise<Usage> {
  const [oom, peak, cpu, stat] = await Promise.all([
    readFile(join(layout.memory, path, "memory.oom_control"), "utf8"),
    readFile(join(layout.memory, path, "memory.max_usage_in_bytes"), "utf8"),
    readFile(join(layout.cpuacct, path, "cpuacct.usage"), "utf8"),
    readFile(join(layout.cpu, path, "cpu.stat"), "utf8"),
  ]);
  return {
    cpuMs: Number(cpu) / 1e6,
    throttledMs: counter(stat, "throttled_time") / 1e6,
    peakMemoryBytes: Number(peak),
    oomKills: counter(oom, "oom_kill"),
  };
}

async function readUsageV2(directory: string): Promise<Usage> {
  const [events, peak, stat] = await Promise.all([
    readFile(join(directory, "memory.events"), "utf8"),
    readFile(join(directory, "memory.peak"), "utf8").catch(() => undefined), // Linux 5.19 and later.
    readFile(join(directory, "cpu.stat"), "utf8"),
  ]);
  return {
    cpuMs: counter(stat, "usage_usec") / 1e3,
    throttledMs: counter(stat, "throttled_usec") / 1e3,
    peakMemoryBytes: peak === undefined ? undefined : Number(peak),
    oomKills: counter(events, "oom_kill"),
  };
}

/** The value of `name` in a file of lines `name value`; 0 for a counter that this kernel does not have. */
function counter(text: string, name: string): number {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

/** From now on no more processes and threads than `limit` are made in the cgroup; those that there are stay. */
export async function limitPids(layout: CgroupLayout, path: string, limit: number): Promise<void> {
  await writeFile(join(layout.pids, path, "pids.max"), String(limit));
}

/**
 * Ends every process in the cgroup and removes it and what is below it, in every hierarchy. Safe to repeat; a cgroup that
 * is not there is fine. Escalates: rmdir, then kill, then wait, within a second; then throws `host_unavailable`.
 */
export async function removeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  for (let tries = 0; tries < REMOVE_TRIES; tries++) {
    const left = await Promise.all(layout.all.map((hierarchy) => removeTree(join(hierarchy, path))));
    if (left.every((gone) => gone)) return;
    await Promise.all(layout.all.map((hierarchy) => killTree(join(hierarchy, path))));
    await delay(REMOVE_PAUSE_MS);
  }
  throw new MayflyError("host_unavailable", `cgroup ${path} cannot be removed: it still has processes`, {
    details: { path },
  });
}

/** The names of the cgroups directly below `path`, over all hierarchies. */
export async function listCgroups(layout: CgroupLayout, path: string): Promise<string[]> {
  const names = await Promise.all(layout.all.map((hierarchy) => subdirectories(join(hierarchy, path))));
  return [...new Set(names.flat())];
}

/** Depth first. True if it is gone. */
async function removeTree(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return true;
    if (!isErrno(error, "EBUSY", "ENOTEMPTY")) throw error;
  }
  const children = await subdirectories(directory);
  for (const child of children) await removeTree(join(directory, child));
  return rmdir(directory).then(
    () => true,
    () => false, // Still busy; the caller kills and tries again.
  );
}

async function killTree(directory: string): Promise<void> {
  for (const child of await subdirectories(directory)) await killTree(join(directory, child));
  try {
    await writeFile(join(directory, "cgroup.kill"), "1"); // v2, Linux 5.14 and later: atomic, forks included.
  } catch {
    await killListed(directory); // v1 has no such file.
  }
}

async function killListed(directory: string): Promise<void> {
  const listed = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => "");
  for (const pid of listed.split("\n").filter((line) => line !== "" && line !== "0")) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch (error) {
      if (!isErrno(error, "ESRCH")) throw error; // A process that has just ended is what we want.
    }
  }
}

async function subdirectories(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []); // Gone already: nothing below it.
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
