// throughput: how many containers a second, by how many are wanted side by side.

import type { ContenderName } from "../arguments.ts";
import { median, type Ratio, ratioOf } from "../figures.ts";
import { rowOf, type SuiteReport } from "../report.ts";
import { interleave, type Measured } from "../rounds.ts";
import { lanesOf, type Suite, withAbsent, withThose } from "./suite.ts";

const OF: readonly ContenderName[] = [
  "mayfly-http",
  "mayfly-runtime",
  "docker",
  "containerd",
  "podman",
  "runc",
  "floor",
];
/** After 128 side by side there is much to tidy up. */
const SETTLE_MS = 1_000;
const FULL = { rounds: 3, ms: 4_000, levels: [1, 2, 8, 32, 128] };
const QUICK = { rounds: 1, ms: 1_500, levels: [1, 2] };
const UNIT = "containers/s";

/** Of the best levels: each side at what suits it. */
const RATIOS = [
  ["mayfly-http", "docker"],
  ["mayfly-http", "floor"],
  ["mayfly-runtime", "floor"],
] as const;

export const throughput: Suite = (bench) =>
  withThose(bench, { of: OF, subjects: [bench.busybox] }, async (opened) => {
    const { rounds, ms, levels } = bench.isQuick ? QUICK : FULL;
    const lanes = lanesOf(opened, (name, contender) =>
      levels
        .filter((parallel) => parallel <= contender.maxParallel)
        .map((parallel) => ({
          name: laneName(name, parallel),
          unit: UNIT,
          note: () => (parallel === levels[0] ? noteOf(contender.note, contender.maxParallel, levels) : ""),
          measure: async () => [await contender.load(bench.busybox, { parallel, ms })],
        })),
    );
    return reportOf(withAbsent(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, bench.say), opened, UNIT));
  });

const laneName = (name: string, parallel: number) => `${name} x${parallel}`;

function noteOf(note: string, maxParallel: number, levels: readonly number[]): string {
  const isCut = levels.some((level) => level > maxParallel);
  return isCut ? `${note}; not asked for more than ${maxParallel} side by side: it only gets slower` : note;
}

function reportOf(measured: readonly Measured[]): SuiteReport {
  const ratios = RATIOS.map(([over, under]) => bestRatio(over, under, measured));
  return { rows: measured.map(rowOf), ratios: ratios.filter((ratio) => ratio !== undefined) };
}

function bestRatio(over: string, under: string, measured: readonly Measured[]): Ratio | undefined {
  return ratioOf(`${over}/${under}`, bestOf(over, measured), bestOf(under, measured));
}

/** The rounds of the contender's level with the highest median. */
export function bestOf(name: string, measured: readonly Measured[]): Measured["rounds"] {
  const levels = measured.filter((each) => each.name.startsWith(`${name} x`) && each.rounds.flat().length > 0);
  const [best] = levels.toSorted((a, b) => median(b.rounds.flat()) - median(a.rounds.flat()));
  return best?.rounds ?? [];
}
