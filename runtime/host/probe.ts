// Asked once, at start: can this host do what a sandbox needs? What is missing is told in one error, all of it.

import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { MayflyError } from "../../core/errors.ts";
import { type CgroupLayout, parseCgroupLayout } from "../cgroup/layout.ts";

export interface ProbeOptions {
  readonly executables: readonly string[];
  readonly files: readonly string[];
}

/** Throws `host_unavailable` that names everything this host lacks; nothing weaker is put in its place. */
export async function probeHost(options: ProbeOptions): Promise<CgroupLayout> {
  const problems: string[] = [];
  const attempt = async <T>(what: string, check: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await check();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  if (process.getuid?.() !== 0) problems.push("containers are made by root: the worker must be started as root");
  for (const path of options.executables) await attempt(`cannot execute ${path}`, () => access(path, constants.X_OK));
  for (const path of options.files) await attempt(`cannot read ${path}`, () => access(path, constants.R_OK));
  await attempt("user namespaces are off", hasUserNamespaces);
  await attempt("overlayfs is missing", hasOverlay);
  const layout = await attempt("cgroups", async () =>
    parseCgroupLayout(await readFile("/proc/self/mountinfo", "utf8")),
  );
  if (problems.length > 0 || !layout) throw new MayflyError("host_unavailable", problems.join("\n"));
  return layout;
}

async function hasUserNamespaces(): Promise<void> {
  const limit = await readFile("/proc/sys/user/max_user_namespaces", "utf8");
  if (Number(limit) === 0) throw new Error("user.max_user_namespaces is 0");
}

/** A module that is not loaded yet is not listed; then its file is looked for, and the first mount loads it. */
async function hasOverlay(): Promise<void> {
  const listed = (await readFile("/proc/filesystems", "utf8"))
    .split("\n")
    .some((line) => line.trim().endsWith("overlay"));
  if (listed) return;
  const release = (await readFile("/proc/sys/kernel/osrelease", "utf8")).trim();
  await access(`/lib/modules/${release}/kernel/fs/overlayfs`, constants.R_OK);
}
