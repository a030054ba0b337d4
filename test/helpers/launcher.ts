// The launcher of one host as a test meets it: its processes, its socket, and other builds of its program.

import { chmod, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { blanksAt } from "../../runtime/index.ts";
import { launcherSocketOf } from "../../runtime/launcher/launcher-driver.ts";
import type { HostUnderTest } from "./leak-check.ts";
import { ROOT } from "./process.ts";

const BUILD = join(ROOT, "runtime/build");

export const socketOf = ({ stateDir }: HostUnderTest): string => launcherSocketOf(join(stateDir, "sandboxes"));

export interface LauncherPids {
  readonly launcher: number;
  readonly makers: readonly number[];
  /** PIDs 1 of sandboxes, as the host numbers them: blanks that wait, and those in use. */
  readonly inits: readonly number[];
  /** Children that have ended and have not been reaped, by name. */
  readonly zombies: readonly string[];
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  readonly name: string;
}

/** `1234 (mayfly-maker) S 1230 …` (proc_pid_stat(5)). */
async function processOf(pid: string): Promise<Process | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const [, name = "", state = "", parent = "0"] = stat.match(/^\d+ \((.*)\) (\S) (\d+)/s) ?? [];
  return stat ? { pid: Number(pid), name, state, parent: Number(parent) } : undefined;
}

/** Undefined while the host has no launcher. */
export async function launcherPids({ stateDir }: HostUnderTest): Promise<LauncherPids | undefined> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const all = (await Promise.all(names.map(processOf))).filter((process) => process !== undefined);
  for (const { pid, state } of all.filter(({ name }) => name === "mayfly-launcher")) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!command.includes(stateDir) || state === "Z") continue;
    const children = all.filter(({ parent }) => parent === pid);
    const alive = children.filter((child) => child.state !== "Z");
    return {
      launcher: pid,
      makers: alive.filter(({ name }) => name === "mayfly-maker").map((child) => child.pid),
      inits: alive.filter(({ name }) => name !== "mayfly-maker").map((child) => child.pid),
      zombies: children.filter((child) => child.state === "Z").map((child) => `${child.name} ${child.pid}`),
    };
  }
  return undefined;
}

export async function theLauncher(host: HostUnderTest): Promise<LauncherPids> {
  const found = await launcherPids(host);
  if (!found) throw new Error(`${host.hostId} has no launcher`);
  return found;
}

const BLANK_DESCRIPTORS = 6;
const SAMPLES = 50;

/**
 * Without the blanks, each of which has descriptors of its own. What is being made, or a connection that is being closed, has some for
 * a moment: the least of many looks is what stays.
 */
export async function launcherState(host: HostUnderTest) {
  const { launcher, makers } = await theLauncher(host);
  let descriptors = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SAMPLES; i++) {
    const { ready } = await blanksAt(host.stateDir);
    const open = (await readdir(`/proc/${launcher}/fd`)).length;
    if ((await blanksAt(host.stateDir)).ready === ready)
      descriptors = Math.min(descriptors, open - ready * BLANK_DESCRIPTORS);
    await delay(10);
  }
  const status = await readFile(`/proc/${launcher}/status`, "utf8");
  const residentKib = Number(status.match(/VmRSS:\s+(\d+)/)?.[1]);
  return { pid: launcher, descriptors, makers: makers.length, residentKib };
}

/**
 * A directory for `programsDir` whose launcher is started by `script`, the rest of a shell script that ends with `exec … "$@"`. Its
 * blanks may be of another build, too.
 */
export async function programsWith(script: string, { blank = join(BUILD, "mayfly-blank") } = {}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-programs-"));
  for (const name of ["mayfly-unpack", "mayfly-shim", "mayfly-init"])
    await symlink(join(BUILD, name), join(directory, name));
  await symlink(blank, join(directory, "mayfly-blank"));
  await writeFile(join(directory, "mayfly-launcher"), `#!/bin/sh\n${script}\n`);
  await chmod(join(directory, "mayfly-launcher"), 0o755);
  return directory;
}

export const LAUNCHER = join(BUILD, "mayfly-launcher");

/** The launcher with AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer; what they say is in `report()`. */
export async function sanitizedPrograms(): Promise<{ programsDir: string; report(): Promise<string> }> {
  await runProgram(["make", "-C", join(ROOT, "runtime"), "sanitized"]);
  const said = join(await mkdtemp(join(tmpdir(), "mayfly-sanitized-")), "stderr");
  // Its root has no symbolizer, so the report names offsets in the program.
  const programsDir = await programsWith(
    `export ASAN_OPTIONS=symbolize=0:detect_leaks=1\nexec ${LAUNCHER}-sanitized "$@" 2>>${said}`,
  );
  return { programsDir, report: () => explained(said) };
}

/** `(…/mayfly-launcher-sanitized+0x1234)` is replaced by function, file and line. */
async function explained(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  const offsets = [
    ...new Set([...text.matchAll(/mayfly-launcher-sanitized\+(0x[0-9a-f]+)/g)].map(([, at]) => at ?? "")),
  ];
  if (offsets.length === 0) return text;
  const argv = ["addr2line", "-Cfspe", `${LAUNCHER}-sanitized`, ...offsets] as const;
  const child = startProcess([...argv], { stdio: ["ignore", "pipe", "ignore"] });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  await finished(child);
  const lines = Buffer.concat(chunks).toString("utf8").split("\n");
  return offsets.reduce((known, offset, i) => known.replaceAll(`+${offset})`, `) ${lines[i]}`), text);
}
