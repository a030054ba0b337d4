// The two C programs of the benchmark, seen from Node: what they print becomes samples.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { run } from "../../infra/command.ts";
import { PLAIN_ENVIRONMENT } from "../../infra/settings.ts";

const NATIVE = join(import.meta.dirname, "native");

/** How long a single container may take before its contender is given up. */
const LIMIT_MS = 30_000;
/** How long what a burst has begun may take to end. */
const MAX_TAIL_MS = 2 * 60_000;
const MAX_STDERR = 2_000;

export interface Pace {
  readonly count: number;
  /** Before each. */
  readonly pauseMs: number;
}

export interface Burst {
  readonly parallel: number;
  /** For how long new ones are begun. What has been begun is ended, and its time counts. */
  readonly ms: number;
}

export interface Timed {
  readonly program: "floor" | "timed-spawn";
  readonly mode: "once" | "joined" | "load";
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export async function buildNative(): Promise<void> {
  await run(["make", "-s", "-C", NATIVE]);
}

/** Milliseconds each. */
export async function timeEach(timed: Timed, { count, pauseMs }: Pace): Promise<number[]> {
  const lines = await linesOf(timed, [count, pauseMs], count * (pauseMs + LIMIT_MS));
  if (lines.length !== count) throw new Error(`${timed.program} told ${lines.length} figures instead of ${count}`);
  return lines.map((line) => Number(line) / 1000);
}

/** How many were run, a second. */
export async function rateOf(timed: Timed, { parallel, ms }: Burst): Promise<number> {
  const lines = await linesOf({ ...timed, mode: "load" }, [parallel, ms], ms + MAX_TAIL_MS);
  const elapsedUs = Number(/^in (\d+)$/.exec(lines.pop() ?? "")?.[1]);
  return (lines.length * 1_000_000) / elapsedUs;
}

/** In a process group of its own, so that what it has started ends with it when it takes too long. */
async function linesOf(timed: Timed, numbers: readonly number[], limitMs: number): Promise<string[]> {
  if (isLeaving) throw new Error("the benchmark is leaving");
  const { program, mode, args, env } = timed;
  const child = spawn(join(NATIVE, "build", program), [mode, ...numbers.map(String), ...args], {
    env: { ...PLAIN_ENVIRONMENT, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  alive.add(child);
  let isLate = false;
  const limit = setTimeout(() => {
    isLate = true;
    killGroup(child);
  }, limitMs);
  try {
    const { stdout, stderr, how } = await ended(child);
    if (isLate) throw new Error(`not over within ${limitMs / 1000} s`);
    if (how !== "exited 0") throw new Error(stderr.trim() || `${program} ${how}`);
    return stdout.split("\n").filter((line) => line !== "");
  } finally {
    clearTimeout(limit);
    alive.delete(child);
  }
}

function ended(child: ChildProcess): Promise<{ stdout: string; stderr: string; how: string }> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-MAX_STDERR);
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve({ stdout, stderr, how: signal ? `was ended by ${signal}` : `exited ${code}` }),
    );
  });
}

const alive = new Set<ChildProcess>();

let isLeaving = false;

/** Ends what is being timed, and has nothing timed any more: the benchmark is leaving. */
export function killTimed(): void {
  isLeaving = true;
  for (const child of alive) killGroup(child);
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    return; // It has just ended by itself.
  }
}
