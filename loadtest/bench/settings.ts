// What every contender of the benchmark is given alike.

import type { SandboxLimits } from "../../runtime/index.ts";

const MIB = 2 ** 20;

/** Host id of container root: Mayfly's default. */
export const UID_BASE = 1_895_825_408;

/** Small enough that 128 side by side, and a thousand asleep, fit into a small machine. */
export const LIMITS: SandboxLimits = { cpus: 1, memoryBytes: 32 * MIB, pids: 32, diskBytes: 4 * MIB };

/** For real programs: Node alone needs 50 MiB. */
export const ROOMY_LIMITS: SandboxLimits = { cpus: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: 16 * MIB };

/** What a subject may use: the same of every Mayfly row. */
export const limitsOf = ({ name }: { readonly name: string }): SandboxLimits =>
  name === "busybox" ? LIMITS : ROOMY_LIMITS;

/** How many blanks a measured runtime keeps ready. */
export const BLANKS = { min: 8, max: 64 };
export const NO_BLANKS = { min: 0, max: 0 };
