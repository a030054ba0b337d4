// How much memory the whole machine has taken, whoever it is booked to: a container is paid for in the kernel's slab, stacks,
// page tables and per-CPU areas at least as much as in pages of its own.

import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** What of the machine's memory is in use, in KiB. `usedKib` has all of it; the others are parts. */
export interface MemoryUse {
  readonly usedKib: number;
  readonly slabKib: number;
  readonly kernelStackKib: number;
  readonly pageTablesKib: number;
  readonly percpuKib: number;
}

/** Removing what has ended goes on for a while: namespaces and cgroups are freed by work queues after grace periods. */
const SETTLE_MS = 2_000;

/** After caches were dropped: what is left is not to be had back. */
export async function memoryUse(): Promise<MemoryUse> {
  await delay(SETTLE_MS);
  writeFileSync("/proc/sys/vm/drop_caches", "3");
  await delay(SETTLE_MS / 2);
  return parseMeminfo(readFileSync("/proc/meminfo", "utf8"));
}

/** Of lines such as `MemFree:        23428000 kB` (proc_meminfo(5)). */
export function parseMeminfo(text: string): MemoryUse {
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return {
    usedKib: field("MemTotal") - field("MemFree"),
    slabKib: field("Slab"),
    kernelStackKib: field("KernelStack"),
    pageTablesKib: field("PageTables"),
    percpuKib: field("Percpu"),
  };
}

export interface Share {
  readonly kib: number;
  /** Where it went. */
  readonly note: string;
}

/** What each of `count` has cost. */
export function shareOf(before: MemoryUse, after: MemoryUse, count: number): Share {
  const each = (part: keyof MemoryUse) => Math.round((after[part] - before[part]) / count);
  const parts = { slab: "slabKib", "kernel stacks": "kernelStackKib", "page tables": "pageTablesKib" } as const;
  const named = Object.entries(parts).map(([name, part]) => `${name} ${each(part)}`);
  return {
    kib: (after.usedKib - before.usedKib) / count,
    note: `of it KiB: ${[...named, `per-CPU ${each("percpuKib")}`].join(", ")}`,
  };
}
