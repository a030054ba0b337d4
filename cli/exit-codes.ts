// What `mayfly run` exits with: one total table from outcomes, after docker's and the shell's habits.

import { constants } from "node:os";
import type { Outcome } from "../core/run.ts";

export const EXIT = {
  ok: 0,
  /** A command other than `run` could not do what it was asked. */
  failed: 1,
  /** The command line of a command other than `run` is wrong. */
  usage: 2,
  /** One of the run's clocks was over, as `timeout` has it. */
  timedOut: 124,
  /** Mayfly, or this command, failed: the program has no result. docker's number. */
  runFailed: 125,
  /** The run was cancelled, by Ctrl-C or by anyone else. 128 + SIGINT. */
  cancelled: 130,
  /** The memory limit: 128 + SIGKILL, which is what the kernel sends. */
  oomKilled: 137,
  /** Whoever read the output went away: 128 + SIGPIPE. */
  readerGone: 141,
} as const;

export interface Conclusion {
  readonly exitCode: number;
  /** For stderr; undefined if the program's own end says all. */
  readonly message?: string;
}

export function conclude(outcome: Outcome): Conclusion {
  switch (outcome.kind) {
    case "exited":
      return { exitCode: outcome.exitCode };
    case "signaled":
      return concludeSignal(outcome.signal);
    case "timed_out":
      return { exitCode: EXIT.timedOut, message: `timed out: the ${outcome.clock} clock is over (${outcome.limit})` };
    case "oom_killed":
      return { exitCode: EXIT.oomKilled, message: `killed: out of memory, at the limit of ${outcome.limit}` };
    case "cancelled":
      return { exitCode: EXIT.cancelled, message: "the run was cancelled" };
    case "lost":
      return { exitCode: EXIT.runFailed, message: `the run was lost: ${outcome.message}` };
    case "rejected":
      return { exitCode: EXIT.runFailed, message: `the run was rejected: ${outcome.message} (${outcome.code})` };
  }
}

function concludeSignal(signal: string): Conclusion {
  const number = signalNumber(signal);
  if (number !== undefined) return { exitCode: 128 + number };
  return { exitCode: EXIT.runFailed, message: `the program was ended by ${signal}, which has no number here` };
}

/** Of `SIGSEGV`, or of a real-time signal such as `SIGRTMIN+3`, which begin at 34 for programs with a C library. */
export function signalNumber(name: string): number | undefined {
  if (Object.hasOwn(constants.signals, name)) return constants.signals[name as NodeJS.Signals];
  const match = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(name);
  const number = match ? 34 + Number(match[1] ?? 0) : 0;
  return number >= 34 && number <= 64 ? number : undefined;
}
