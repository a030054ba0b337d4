// What this host's kernel can do, asked of the kernel: files of /proc and /sys, and a cgroup that is made to be looked into.

import { constants } from "node:fs";
import { access, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "../../core/errors.ts";
import type { CgroupLayout } from "../cgroup/layout.ts";

export interface HostFacts {
  /** Such as `6.1.0-18-amd64`. */
  readonly kernel: string;
  readonly userNamespaces: boolean;
  readonly overlayfs: boolean;
  readonly seccomp: boolean;
  /** A cgroup's processes can be ended all at once. Without it they are ended one by one, until none is left. */
  readonly cgroupKill: boolean;
  /** The most memory that a run had is known. Without it the receipt does not say. */
  readonly memoryPeak: boolean;
  readonly swap: boolean;
  readonly swapAccounting: boolean;
  readonly kernelMemoryAccounting: boolean;
  readonly hugePages: boolean;
  readonly hugePageAccounting: boolean;
}

/** `root` is where the kernel's files are: `/`, but in tests. `cgroupFiles` is what `lookIntoCgroup` has found. */
export async function readFacts(root: string, cgroupFiles: ReadonlySet<string>): Promise<HostFacts> {
  const read = (path: string) => readFile(join(root, path), "utf8").catch(() => ""); // This kernel has no such thing.
  const [kernel, namespaces, actions, swaps, commandLine, mountinfo] = await Promise.all([
    read("proc/sys/kernel/osrelease"),
    read("proc/sys/user/max_user_namespaces"),
    read("proc/sys/kernel/seccomp/actions_avail"),
    read("proc/swaps"),
    read("proc/cmdline"),
    read("proc/self/mountinfo"),
  ]);
  return {
    kernel: kernel.trim(),
    userNamespaces: Number(namespaces) > 0,
    overlayfs: await hasOverlay(root, kernel.trim()),
    seccomp: words(actions).includes("errno"),
    cgroupKill: cgroupFiles.has("cgroup.kill"),
    memoryPeak: cgroupFiles.has("memory.peak") || cgroupFiles.has("memory.max_usage_in_bytes"),
    swap: swaps.trim().split("\n").length > 1, // After a line of headings, one for each.
    swapAccounting: cgroupFiles.has("memory.swap.max") || cgroupFiles.has("memory.memsw.limit_in_bytes"),
    kernelMemoryAccounting: !words(commandLine).some((word) => /^cgroup\.memory=(.*,)?nokmem(,|$)/.test(word)),
    hugePages: await hasHugePages(root),
    hugePageAccounting: cgroupFiles.has("memory.max") && mountinfo.includes("memory_hugetlb_accounting"),
  };
}

const words = (text: string) => text.trim().split(/\s+/);

/** A module that is not loaded yet is not listed; then its file is looked for, and the first mount loads it. */
async function hasOverlay(root: string, kernel: string): Promise<boolean> {
  if (words(await readFile(join(root, "proc/filesystems"), "utf8")).includes("overlay")) return true;
  return isThere(join(root, "lib/modules", kernel, "kernel/fs/overlayfs"));
}

const isThere = (path: string) =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  );

/** Of any size, kept or to be had on demand. */
async function hasHugePages(root: string): Promise<boolean> {
  const sizes = join(root, "sys/kernel/mm/hugepages");
  const pools = await readdir(sizes).catch(() => []); // A kernel without huge pages.
  const files = pools.flatMap((pool) =>
    ["nr_hugepages", "nr_overcommit_hugepages"].map((name) => join(sizes, pool, name)),
  );
  const counts = await Promise.all(files.map((file) => readFile(file, "utf8")));
  return counts.some((count) => Number(count) > 0);
}

/**
 * The names of the files that a container's cgroup has on this host: those of a cgroup `name`, which is made below each root and
 * removed. On v2 the controllers that limits need are enabled at the root, as for every container later.
 */
export async function lookIntoCgroup(root: string, layout: CgroupLayout, name: string): Promise<ReadonlySet<string>> {
  const hierarchies = [...new Set([layout.memory, layout.cpu, layout.pids])].map((path) => join(root, path));
  if (layout.version === 2) await enableControllers(join(root, layout.memory));
  const found = await Promise.all(hierarchies.map((hierarchy) => listNew(join(hierarchy, name))));
  return new Set(found.flat());
}

async function enableControllers(hierarchy: string): Promise<void> {
  const read = async (file: string) => words(await readFile(join(hierarchy, file), "utf8"));
  const [available, enabled] = await Promise.all([read("cgroup.controllers"), read("cgroup.subtree_control")]);
  const wanted = ["cpu", "memory", "pids"].filter((name) => available.includes(name) && !enabled.includes(name));
  if (wanted.length === 0) return;
  await writeFile(join(hierarchy, "cgroup.subtree_control"), wanted.map((name) => `+${name}`).join(" "));
}

async function listNew(directory: string): Promise<string[]> {
  const isNew = await mkdir(directory).then(
    () => true,
    (error) => {
      if (isErrno(error, "EEXIST")) return false; // Of a worker that was killed just here.
      throw error;
    },
  );
  try {
    return await readdir(directory);
  } finally {
    if (isNew) await rmdir(directory);
  }
}
