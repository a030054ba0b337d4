// The machine that figures are of. Figures of two machines are never compared; ratios may be, with this beside them.

import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { cgroupKind } from "./cgroups.ts";

export interface Machine {
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly distribution: string;
  readonly cgroups: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    cpus: all.length,
    cpuModel: all[0]?.model.trim() ?? "unknown",
    memoryBytes: totalmem(),
    kernel: release(),
    distribution: distributionOf(readFileSync("/etc/os-release", "utf8")),
    cgroups: cgroupKind(readFileSync("/proc/self/mountinfo", "utf8")),
    node: process.version,
  };
}

/** Of lines such as `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"` (os-release(5)). */
export function distributionOf(osRelease: string): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? "unknown";
}
