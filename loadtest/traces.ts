// What the kernel has of one host's sandboxes: mounts, cgroups, processes, network namespaces, directories, and the descriptors
// that its processes hold. Mayfly itself is not asked, as it would know of no leak, but for one thing: which sandboxes are blanks,
// kept ready on purpose and another few each time.

import { readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { blanksAt } from "../runtime/index.ts";

export interface HostUnderLoad {
  readonly hostId: string;
  /** The worker's own. */
  readonly stateDir: string;
  readonly pids: { readonly gateway: number; readonly worker: number };
}

/** Each entry is a thing that is there; all are sorted. */
export interface Traces {
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  readonly processes: readonly string[];
  readonly networkNamespaces: readonly string[];
  readonly directories: readonly string[];
  /** Such as `worker socket #3`. */
  readonly descriptors: readonly string[];
}

export async function traces(host: HostUnderLoad): Promise<Traces> {
  const mountinfo = await readFile("/proc/self/mountinfo", "utf8");
  const before = await blanksAt(host.stateDir);
  const cgroups = await cgroupsOf(host, mountinfo);
  const all = await processesOf(host);
  // Asked before and after: one that is made or used meanwhile is in one of the answers.
  const blanks = new Set([...before.cgroups, ...(await blanksAt(host.stateDir)).cgroups]);
  const pids = all.filter(({ sandbox }) => sandbox === undefined || !blanks.has(sandbox)).map(({ pid }) => pid);
  return {
    mounts: mountinfo.split("\n").filter((line) => line.includes(host.stateDir)),
    cgroups: cgroups.filter((path) => !blanks.has(basename(path))),
    processes: (await Promise.all(pids.map(commandOf))).filter((command) => command !== "").sort(),
    networkNamespaces: await networkNamespacesOf(pids),
    directories: await tree(join(host.stateDir, "sandboxes"), 2),
    descriptors: [
      ...(await descriptorsOf("gateway", host.pids.gateway)),
      ...(await descriptorsOf("worker", host.pids.worker)),
    ],
  };
}

/** What is there after and was not before, by kind; empty if nothing is. Less than before is no leak: a connection may close. */
export function leaks(before: Traces, after: Traces): Record<string, string[]> {
  const kinds = Object.keys(before) as (keyof Traces)[];
  const more = kinds.map((kind) => [kind, without(after[kind], before[kind])] as const);
  return Object.fromEntries(more.filter(([, entries]) => entries.length > 0));
}

/** As of bags: what is twice in `all` and once in `some` remains once. */
function without(all: readonly string[], some: readonly string[]): string[] {
  const left = [...some];
  return all.filter((entry) => {
    const at = left.indexOf(entry);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

interface Process {
  readonly pid: string;
  /** Name of the cgroup of the sandbox that it is in. */
  readonly sandbox: string | undefined;
}

/** The worker's descendants, whatever has gone from their line but is in the host's cgroups, and shims of its state directory. */
async function processesOf({ hostId, stateDir, pids }: HostUnderLoad): Promise<Process[]> {
  const inside = new RegExp(`/mayfly-${hostId}/([^/\\n]+)`);
  const all = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    all.map(async (pid) => {
      const [stat, cgroup, command] = await Promise.all([read(pid, "stat"), read(pid, "cgroup"), commandOf(pid)]);
      // `PID (COMMAND) STATE PARENT …`, and the command may hold anything (proc_pid_stat(5)).
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const sandbox = cgroup.match(inside)?.[1];
      const isOurs = sandbox !== undefined || command.includes(stateDir) || parent === pids.worker;
      return isOurs ? { pid, sandbox } : undefined;
    }),
  );
  return found.filter((process) => process !== undefined);
}

async function cgroupsOf({ hostId }: HostUnderLoad, mountinfo: string): Promise<string[]> {
  const hierarchies = mountinfo
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "");
  return (await Promise.all(hierarchies.map((path) => subdirectories(join(path, `mayfly-${hostId}`))))).flat().sort();
}

/** Those that are not the machine's own. */
async function networkNamespacesOf(pids: readonly string[]): Promise<string[]> {
  const own = await readlink("/proc/self/ns/net");
  const all = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/ns/net`).catch(() => own)));
  return [...new Set(all)].filter((namespace) => namespace !== own).sort();
}

async function subdirectories(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []); // There is none.
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
}

async function tree(directory: string, depth: number): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = await Promise.all(
    entries.map(async (entry) => {
      const path = join(directory, entry.name);
      return entry.isDirectory() && depth > 1 ? [path, ...(await tree(path, depth - 1))] : [path];
    }),
  );
  return below.flat().sort();
}

/** `socket:[123]` is another one each time: sockets and their like are numbered, and files are named. */
async function descriptorsOf(name: string, pid: number): Promise<string[]> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  const counts = new Map<string, number>();
  return links
    .filter((link) => link !== "")
    .map((link) => (link.startsWith("/") ? link : (link.split(":")[0] ?? link)))
    .sort()
    .map((kind) => {
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      return `${name} ${kind} #${counts.get(kind)}`;
    });
}

async function commandOf(pid: string): Promise<string> {
  return (await read(pid, "cmdline")).replaceAll("\0", " ").trim();
}

/** Empty if the process has ended meanwhile. */
function read(pid: string, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
}
