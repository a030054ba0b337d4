// What the benchmark and its runtime process say to each other: one request, one answer, by Node's IPC channel.

import type { DriverName } from "../arguments.ts";
import type { Burst, Pace } from "../native.ts";
import type { Subject } from "../subject.ts";

export interface Creation {
  readonly stateDir: string;
  readonly runDir: string;
  readonly hostId: string;
  readonly driver: DriverName;
  readonly blanks: { readonly min: number; readonly max: number };
}

export type Workload = Pick<Subject, "name" | "reference" | "argv">;

export interface Starts {
  /** Milliseconds from `openSandbox` to `ended`, each. */
  readonly ms: readonly number[];
  /** How long it took after that until nothing was left. */
  readonly removalMs: readonly number[];
}

/** The calls by name: what is sent, and what is answered. */
export interface RuntimeCalls {
  create: { readonly in: Creation; readonly out: { driver: string } };
  /** Resolves when as many blanks are ready as the runtime keeps; how many that is. */
  ready: { readonly in: null; readonly out: number };
  start: { readonly in: { readonly workload: Workload; readonly pace: Pace }; readonly out: Starts };
  load: { readonly in: { readonly workload: Workload; readonly burst: Burst }; readonly out: number };
  /** Opens so many more sandboxes that sleep. */
  sleep: { readonly in: { readonly workload: Workload; readonly count: number }; readonly out: null };
  /** Closes those that sleep. */
  wake: { readonly in: null; readonly out: null };
  /** Milliseconds until the image is ready. */
  pull: { readonly in: string; readonly out: number };
  close: { readonly in: null; readonly out: null };
}

export type CallName = keyof RuntimeCalls;

export interface Call {
  readonly id: number;
  readonly name: CallName;
  readonly input: unknown;
}

export type Reply = { readonly id: number; readonly output: unknown } | { readonly id: number; readonly error: string };
