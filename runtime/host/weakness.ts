// What a host may be like so that runs are possible on it, but bounded less than they are by default. A worker starts on such a
// host only if its operator has allowed that, by name.

import type { HostFacts } from "./facts.ts";

/** A closed list: each name is a word of `MAYFLY_ALLOW_WEAKER`, and stands in the documentation as it stands here. */
export const WEAKNESSES = {
  "uncounted-swap":
    "swap is on, and the kernel does not count it for each cgroup: a run may have more than its memory limit",
  "uncounted-kernel-memory":
    "the kernel was started with cgroup.memory=nokmem: what it keeps for a run (page tables, pipes, names of files) is not bounded by the run's memory limit",
  "uncounted-huge-pages": "there are huge pages: a run may take all of them, beyond its memory limit",
} as const;

export type Weakness = keyof typeof WEAKNESSES;

export const WEAKNESS_NAMES = Object.keys(WEAKNESSES) as readonly Weakness[];

/** Those that hold, in the order of the list. Swap that is put on later is not seen. */
export function weaknessesOf(facts: HostFacts): readonly Weakness[] {
  const holds: Readonly<Record<Weakness, boolean>> = {
    "uncounted-swap": facts.swap && !facts.swapAccounting,
    "uncounted-kernel-memory": !facts.kernelMemoryAccounting,
    "uncounted-huge-pages": facts.hugePages && !facts.hugePageAccounting,
  };
  return WEAKNESS_NAMES.filter((name) => holds[name]);
}
