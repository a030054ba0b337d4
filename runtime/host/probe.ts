// Asked once, at start: can this host do what a sandbox needs, and as well as by default? All of it is told in one line of the
// log, and what is missing in one error.

import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { type CgroupLayout, parseCgroupLayout } from "../cgroup/layout.ts";
import { type HostFacts, lookIntoCgroup, readFacts } from "./facts.ts";
import { WEAKNESSES, type Weakness, weaknessesOf } from "./weakness.ts";

export interface ProbeOptions {
  readonly executables: readonly string[];
  readonly files: readonly string[];
  readonly oldestKernel: readonly [major: number, minor: number];
  /** Name of a cgroup, nobody else's, that is made below the roots of the hierarchies to be looked into, and removed. */
  readonly cgroup: string;
  readonly allowWeaker: readonly Weakness[];
  readonly log: Log;
  /** Where the kernel's files are, and whose process this is; tests have their own. */
  readonly root?: string;
  readonly uid?: number | undefined;
}

export interface Host {
  readonly layout: CgroupLayout;
  readonly facts: HostFacts;
}

/** What a limit is written to; the kernel may have been built without one of them. */
const LIMIT_FILES = {
  1: ["memory.limit_in_bytes", "cpu.cfs_quota_us", "pids.max"],
  2: ["memory.max", "cpu.max", "pids.max"],
} as const;

/**
 * Throws `host_unavailable` that names everything this host lacks, and each weakness that is not allowed; nothing weaker is put
 * in the place of either.
 */
export async function probeHost(options: ProbeOptions): Promise<Host> {
  const { root = "/", uid = process.getuid?.(), allowWeaker, log } = options;
  const problems: string[] = [];
  const attempt = async <T>(what: string, check: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await check();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  if (uid !== 0) problems.push("containers are made by root: the worker must be started as root");
  for (const path of options.executables) await attempt(`cannot execute ${path}`, () => access(path, constants.X_OK));
  for (const path of options.files) await attempt(`cannot read ${path}`, () => access(path, constants.R_OK));

  const layout = await attempt("cgroups", () => readLayout(root));
  const found = layout && (await attempt("cgroups", () => lookIntoCgroup(root, layout, options.cgroup)));
  const facts = await readFacts(root, found ?? new Set());
  const weaker = found ? weaknessesOf(facts) : [];
  const line = { ...facts, architecture: process.arch, cgroups: layout?.kind ?? "none", weaker };
  if (weaker.length === 0) log.info("host.probed", line);
  else log.warn("host.probed", line);

  if (layout && found) problems.push(...missingLimits(layout, found));
  problems.push(...missingFeatures(facts, options.oldestKernel), ...refusals(weaker, allowWeaker));
  if (problems.length > 0 || !layout) throw new MayflyError("host_unavailable", problems.join("\n"));
  return { layout, facts };
}

const readLayout = async (root: string) => parseCgroupLayout(await readFile(join(root, "proc/self/mountinfo"), "utf8"));

/** A limit that nobody enforces must not be accepted. */
function missingLimits({ version }: CgroupLayout, found: ReadonlySet<string>): string[] {
  return LIMIT_FILES[version]
    .filter((name) => !found.has(name))
    .map((name) => `cgroups: there is no ${name}: the kernel lacks that limit, or its controller is off`);
}

function missingFeatures(facts: HostFacts, [major, minor]: readonly [number, number]): string[] {
  const [has = 0, hasMinor = 0] = facts.kernel.split(".").map((part) => Number.parseInt(part, 10));
  const isOld = has < major || (has === major && hasMinor < minor);
  return [
    ...(isOld ? [`the kernel is ${facts.kernel}; this driver needs ${major}.${minor} or later`] : []),
    ...(facts.userNamespaces ? [] : ["user namespaces are off: container root would be the host's"]),
    ...(facts.overlayfs ? [] : ["overlayfs is missing"]),
    ...(facts.seccomp ? [] : ["the kernel has no seccomp filters"]),
  ];
}

function refusals(weaker: readonly Weakness[], allowed: readonly Weakness[]): string[] {
  const refused = weaker.filter((name) => !allowed.includes(name));
  if (refused.length === 0) return [];
  const setting = `MAYFLY_ALLOW_WEAKER=${[...allowed, ...refused].join(",")}`;
  return [...refused.map((name) => `${name}: ${WEAKNESSES[name]}`), `${setting} lets runs have this host all the same`];
}
