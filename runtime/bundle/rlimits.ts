// The limits of a container's processes, setrlimit(2).

export interface Rlimit {
  readonly type: "RLIMIT_NOFILE" | "RLIMIT_CORE";
  readonly soft: number;
  readonly hard: number;
}

/** A program that wants more descriptors may raise its soft limit. */
export const RLIMITS: readonly Rlimit[] = [
  { type: "RLIMIT_NOFILE", soft: 1024, hard: 4096 },
  { type: "RLIMIT_CORE", soft: 0, hard: 0 },
];

/** `Max open files            1024                 20000                files` (proc_pid_limits(5)) */
const NAMES = { RLIMIT_NOFILE: "Max open files", RLIMIT_CORE: "Max core file size" } as const;

/**
 * RLIMITS, lowered where this process' own hard limits are lower: an OCI runtime would fail to raise those. `limits` is the text of
 * /proc/self/limits.
 */
export function rlimitsWithin(limits: string): Rlimit[] {
  return RLIMITS.map(({ type, soft, hard }) => {
    const own = hardLimit(limits, NAMES[type]);
    return { type, soft: Math.min(soft, own), hard: Math.min(hard, own) };
  });
}

function hardLimit(limits: string, name: string): number {
  const line = limits.split("\n").find((text) => text.startsWith(name)) ?? "";
  const [, hard] = line.slice(name.length).trim().split(/\s+/);
  // What cannot be read bounds nothing; the kernel still does.
  return /^\d+$/.test(hard ?? "") ? Number(hard) : Number.POSITIVE_INFINITY;
}
