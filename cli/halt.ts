// When many runs are to stop: in Mayfly's own words, and in those of GNU parallel's --halt.

import { UsageError } from "./usage-error.ts";

export interface Halt {
  /** Failures that are put up with; undefined for any number. */
  readonly maxFailures: number | undefined;
  /** What runs is ended, too. */
  readonly now: boolean;
}

const HALT_FORM = "never, soon,fail=NUMBER or now,fail=NUMBER";

/** `continue`, `stop`, or how many failures are put up with, as the API's query has it. Throws UsageError. */
export function failureQuery(text: string | undefined): { onFailure?: string; maxFailures?: number } {
  if (text === undefined || text === "continue") return {};
  if (text === "stop") return { onFailure: "stop_on_first" };
  if (/^\d{1,7}$/.test(text)) return { maxFailures: Number(text) };
  throw new UsageError(`--on-failure ${JSON.stringify(text)} is not continue, stop or a number`);
}

/** As GNU parallel has it: `now,fail=1` stops at the first failure. `0`, `1` and `2` are its older names. Throws UsageError. */
export function parseHalt(text = "never"): Halt {
  const older: Readonly<Record<string, string>> = { "0": "never", "1": "soon,fail=1", "2": "now,fail=1" };
  const match = /^(?:never|(soon|now),fail=([1-9]\d{0,6}))$/.exec(older[text] ?? text);
  if (!match) throw new UsageError(`--halt ${JSON.stringify(text)} is not ${HALT_FORM}`);
  const [, when, failures] = match;
  return { maxFailures: failures === undefined ? undefined : Number(failures) - 1, now: when === "now" };
}
