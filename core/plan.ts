// What is made of a request: its defaults filled in, its words turned into numbers.

import { planArtifacts } from "./artifacts.ts";
import { DEFAULT_POOL, DEFAULTS, type RunRequest } from "./request.ts";
import type { Retry } from "./retry.ts";
import { parseDuration, parseSize } from "./units.ts";

/** What the worker executes. */
export interface RunPlan {
  readonly limits: {
    readonly cpus: number;
    readonly memoryBytes: number;
    readonly pids: number;
    readonly diskBytes: number;
    readonly outputBytes: number;
  };
  readonly artifacts: ReturnType<typeof planArtifacts> | undefined;
  readonly timeouts: {
    readonly queueMs: number;
    readonly startMs: number;
    readonly runMs: number;
    readonly graceMs: number;
  };
  /** What a host must have free for it. */
  readonly demand: { readonly cpus: number; readonly memoryBytes: number; readonly pids: number };
  /** How much of a host it takes, in CPUs or in as many times the memory that goes with one: what tenants' shares are counted in. */
  readonly size: number;
  /** When it may start: so many ms from when it is accepted, or a moment, ms since 1970. */
  readonly due: { readonly afterMs: number } | { readonly atMs: number };
  readonly concurrency: { readonly key: string; readonly max: number } | undefined;
  readonly retries: number;
  readonly retry: Retry | undefined;
  readonly priority: number;
  readonly pool: string;
}

/** The init that starts the program is a process too, and counts against the host's. */
const INIT_PIDS = 1;

/** What most machines have. */
const MEMORY_PER_CPU = 2 * 2 ** 30;

const plans = new WeakMap<RunRequest, RunPlan>();

/** Made once for each request. The schema has checked the strings, so a failure to parse here is a bug and throws. */
export function planRun(request: RunRequest): RunPlan {
  const made = plans.get(request) ?? makePlan(request);
  plans.set(request, made);
  return made;
}

function makePlan(request: RunRequest): RunPlan {
  const { limits = {}, timeouts = {} } = request;
  const memoryBytes = checked(parseSize(limits.memory ?? DEFAULTS.memory));
  const { cpus = DEFAULTS.cpus, pids = DEFAULTS.pids } = limits;
  return {
    limits: {
      cpus,
      memoryBytes,
      pids,
      diskBytes: Math.min(checked(parseSize(limits.disk ?? DEFAULTS.disk)), memoryBytes),
      outputBytes: checked(parseSize(limits.output ?? DEFAULTS.output)),
    },
    artifacts: request.artifacts && planArtifacts(request.artifacts),
    timeouts: {
      queueMs: checked(parseDuration(timeouts.queue ?? DEFAULTS.queue)),
      startMs: checked(parseDuration(timeouts.start ?? DEFAULTS.start)),
      runMs: checked(parseDuration(timeouts.run ?? DEFAULTS.run)),
      graceMs: checked(parseDuration(timeouts.grace ?? DEFAULTS.grace)),
    },
    demand: { cpus, memoryBytes, pids: pids + INIT_PIDS },
    size: Math.max(cpus, memoryBytes / MEMORY_PER_CPU),
    due:
      request.notBefore === undefined
        ? { afterMs: checked(parseDuration(request.delay ?? "0s")) }
        : { atMs: Date.parse(request.notBefore) },
    concurrency: request.concurrency,
    retries: request.retries ?? 0,
    retry: request.retry,
    priority: request.priority ?? 0,
    pool: request.pool ?? DEFAULT_POOL,
  };
}

function checked(value: number | undefined): number {
  if (value === undefined) throw new Error("a request reached planRun unparsed");
  return value;
}
