// @ts-check
// The kinds of runs that are asked for, and how each must end: a run that is answered 200 and ended otherwise is a fault.
//
// Each run gets a token of its own, so that an answer meant for another is noticed.

/**
 * @typedef {{kind: string, exitCode?: number, signal?: string, clock?: string, limit?: string}} Outcome
 * @typedef {{outcome: Outcome, stdout?: Record<string, string | number | boolean>}} Ending
 * @typedef {{asks: (token: string) => Record<string, unknown>, ends: (token: string) => Ending}} Kind
 */

const SUCCESS = { kind: "exited", exitCode: 0 };
const INPUT = "0123456789abcde\n".repeat(4096);

/** @type {Record<string, Kind>} */
export const KINDS = {
  echo: {
    asks: (token) => ({ command: ["echo", token] }),
    ends: (token) => ({ outcome: SUCCESS, stdout: { data: `${token}\n`, truncated: false } }),
  },
  /** 64 KiB in, their count out. */
  input: {
    asks: (token) => ({ command: ["sh", "-c", `wc -c; echo ${token}`], stdin: INPUT }),
    ends: (token) => ({ outcome: SUCCESS, stdout: { data: `${INPUT.length}\n${token}\n` } }),
  },
  /** More output than is kept: the program goes on to its end. */
  output: {
    asks: () => ({ command: ["sh", "-c", "yes mayfly | head -c 200000"], limits: { output: "64KiB" } }),
    ends: () => ({ outcome: SUCCESS, stdout: { bytesSeen: 200000, bytesKept: 65536, truncated: true } }),
  },
  /** A little work in a small and slow container. */
  small: {
    asks: (token) => ({
      command: ["sh", "-c", `head -c 4000000 /dev/zero | wc -c; echo ${token}`],
      limits: { memory: "32MiB", cpus: 0.5, pids: 16, disk: "1MiB" },
    }),
    ends: (token) => ({ outcome: SUCCESS, stdout: { data: `4000000\n${token}\n` } }),
  },
  /** 8 MiB of files in a larger one. */
  large: {
    asks: (token) => ({
      command: ["sh", "-c", `head -c 8388608 /dev/zero >/tmp/file && wc -c </tmp/file && echo ${token}`],
      limits: { memory: "512MiB", cpus: 2, disk: "128MiB" },
    }),
    ends: (token) => ({ outcome: SUCCESS, stdout: { data: `8388608\n${token}\n` } }),
  },
  failure: {
    asks: (token) => ({ command: ["sh", "-c", `echo ${token}; exit 3`] }),
    ends: (token) => ({ outcome: { kind: "exited", exitCode: 3 }, stdout: { data: `${token}\n` } }),
  },
  signal: {
    asks: () => ({ command: ["sh", "-c", "kill -KILL $$"] }),
    ends: () => ({ outcome: { kind: "signaled", signal: "SIGKILL" } }),
  },
  timeout: {
    asks: () => ({ command: ["sleep", "60"], timeouts: { run: "500ms" } }),
    ends: () => ({ outcome: { kind: "timed_out", clock: "run", limit: "500ms" } }),
  },
  memory: {
    asks: () => ({ command: ["tail", "/dev/zero"], limits: { memory: "32MiB" } }),
    ends: () => ({ outcome: { kind: "oom_killed", limit: "32MiB" } }),
  },
};

/** Six in ten succeed, and each way of failing has its turn. */
export const MIX = ["echo", "input", "failure", "output", "small", "timeout", "large", "signal", "echo", "memory"];

/**
 * The kinds take turns.
 * @param {readonly string[]} names
 * @param {number} iteration
 * @returns {Kind}
 */
export function kindAt(names, iteration) {
  const kind = KINDS[names[iteration % names.length] || ""];
  if (!kind) throw new Error(`there is no kind at ${iteration} of ${names.join(", ")}`);
  return kind;
}
