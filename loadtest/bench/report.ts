// What a run of the benchmark says, in the form that is written with --json.

import { type Figures, type Ratio, ratioOf, summarize } from "./figures.ts";
import type { Machine } from "./machine.ts";
import type { Measured } from "./rounds.ts";

/** A row without figures says in its note why there are none; its `n` is 0. */
export interface Row extends Partial<Omit<Figures, "n">> {
  readonly name: string;
  readonly n: number;
  readonly unit: string;
  readonly note: string;
}

export interface SuiteReport {
  readonly rows: readonly Row[];
  readonly ratios: readonly Ratio[];
}

export interface Report {
  readonly machine: Machine;
  readonly suites: Readonly<Record<string, SuiteReport>>;
}

export function rowOf({ name, unit, note, rounds }: Measured): Row {
  const samples = rounds.flat();
  return { name, n: 0, unit, note, ...(samples.length === 0 ? {} : summarize(samples)) };
}

/** `wanted` names ratios as `a/b`; one with a side that has no figures, or was not asked for, is left out. */
export function suiteReport(measured: readonly Measured[], wanted: readonly string[]): SuiteReport {
  const roundsOf = (name: string | undefined) => measured.find((each) => each.name === name)?.rounds ?? [];
  const ratios = wanted.map((name) => {
    const [over, under] = name.split("/");
    return ratioOf(name, roundsOf(over), roundsOf(under));
  });
  return { rows: measured.map(rowOf), ratios: ratios.filter((ratio) => ratio !== undefined) };
}
