// What `mayfly ps` is to show: --filter NAME=VALUE and --since, as the gateway's list is asked for it.

import { RunState } from "../core/run.ts";
import { DURATION_FORM, parseDuration } from "../core/units.ts";
import { UsageError } from "./usage-error.ts";

export interface RunFilter {
  readonly state: RunState | undefined;
  readonly label: readonly string[];
  readonly image: string | undefined;
}

const NAMES = ["state", "label", "image"] as const;

/** `state=running`, `label=build=17`, `image=busybox`. Only labels may be given more than once: a run has several. */
export function readFilters(texts: readonly string[]): RunFilter {
  const given = { state: [] as string[], label: [] as string[], image: [] as string[] };
  for (const text of texts) {
    const at = text.indexOf("=");
    const name = NAMES.find((each) => each === text.slice(0, Math.max(0, at)));
    if (name === undefined)
      throw new UsageError(
        `--filter ${JSON.stringify(text)} does not begin with ${NAMES.map((each) => `${each}=`).join(", ")}`,
      );
    given[name].push(text.slice(at + 1));
  }
  for (const name of ["state", "image"] as const)
    if (given[name].length > 1) throw new UsageError(`--filter ${name}= may be given once`);
  for (const label of given.label)
    if (!/^[^=]+=/.test(label)) throw new UsageError(`--filter label=${label} is not of the form label=NAME=VALUE`);
  return { state: stateOf(given.state[0], "--filter state="), label: given.label, image: given.image[0] };
}

export function stateOf(text: string | undefined, flag: string): RunState | undefined {
  if (text === undefined) return undefined;
  const known = RunState.options.find((option) => option === text);
  if (known !== undefined) return known;
  throw new UsageError(`${flag} ${JSON.stringify(text)} is not one of ${RunState.options.join(", ")}`);
}

/** A moment as RFC 3339 has it, or so long ago, such as `90m`, by this machine's clock. */
export function readMoment(text: string | undefined, flag: string, nowMs: number): string | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms !== undefined) return new Date(Math.max(0, nowMs - ms)).toISOString();
  if (/^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text))) return new Date(text).toISOString();
  throw new UsageError(
    `${flag} ${JSON.stringify(text)} is neither a moment, such as 2026-01-31T08:00:00Z, nor ${DURATION_FORM}`,
  );
}
