// Where a run of the benchmark works: one directory, one registry, one name in the cgroups, one scope that takes all of it
// away again. Daemons are launched in the directory's place, so that they end when we do, however we end.

import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Scope } from "../../core/scope.ts";
import { run } from "../../infra/command.ts";
import { Place } from "../../infra/place.ts";
import { freePort } from "../../infra/ports.ts";
import { startRegistry } from "../../infra/registry.ts";
import type { DriverName } from "./arguments.ts";
import { removeCgroups } from "./cgroups.ts";

/** On disk: /tmp may be in memory, where the layers of other engines have an advantage that they do not have in life. */
const ROOT = "/var/tmp";
const STOP_MS = 20_000;
const REGISTRY_PORT = 5_100;

export interface Workshop {
  readonly directory: string;
  readonly place: Place;
  /** Such as `127.0.0.1:5100`. */
  readonly registry: string;
  /** The directory below each cgroup hierarchy's root that is ours. */
  readonly cgroup: string;
  readonly driver: DriverName;
  /** A new directory below ours, that every user may pass through: the root of a container is nobody out here. */
  room(name: string): Promise<string>;
  /** Stops and removes everything. Idempotent. */
  close(): Promise<void>;
}

export async function openWorkshop(options: { driver: DriverName }): Promise<Workshop> {
  const cgroup = `mayfly-bench-${process.pid}`;
  const directory = await mkdtemp(join(ROOT, `${cgroup}-`));
  const scope = new Scope();
  scope.add("directory", () => rm(directory, { recursive: true, force: true }));
  scope.add("mounts", () => unmountBelow(directory));
  scope.add("cgroups", () => removeCgroups(cgroup));
  scope.add("processes", () => killProcessesOf(directory));
  const close = async () => {
    for (const { name, error } of await scope.close())
      process.stderr.write(`bench: not cleaned up: ${name}: ${error instanceof Error ? error.message : error}\n`);
  };
  try {
    const place = await Place.open(directory, () => {});
    scope.add("daemons", () => place.close(() => STOP_MS));
    const registry = await startRegistry(place, await freePort(REGISTRY_PORT));
    const room = async (name: string) => {
      const path = join(directory, name);
      await mkdir(path, { recursive: true });
      await chmod(path, 0o711);
      return path;
    };
    return { directory, place, registry, cgroup, driver: options.driver, room, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * An engine's supervisor outlives its daemon if the command that it was started for has been killed. Whoever was given a path in
 * this directory, which had no name before us, works for us.
 */
function killProcessesOf(directory: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) !== process.pid && argumentsOf(pid).some((argument) => argument.startsWith(`${directory}/`)))
      kill(Number(pid));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    return; // It has just ended.
  }
}

function argumentsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // It has just ended.
  }
}

/** Engines leave mounts of their own when they end; the last made is on top. */
async function unmountBelow(directory: string): Promise<void> {
  for (const path of mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), directory).toReversed())
    await run(["umount", "--lazy", path]);
}

export function mountsBelow(mountinfo: string, directory: string): string[] {
  return mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${directory}/`));
}
