// start: one container at a time, from nothing to its end, with a pause before each.

import { CONTENDERS } from "../arguments.ts";
import { suiteReport } from "../report.ts";
import { interleave } from "../rounds.ts";
import { lanesOf, type Suite, withAbsent, withThose } from "./suite.ts";

/** Longer than an RCU grace period, and than the work that a start leaves to be done after it. */
const PAUSE_MS = 60;
/** Engines with a daemon go on for a while after they have answered. */
const SETTLE_MS = 250;
const FULL = { rounds: 20, count: 5 };
const QUICK = { rounds: 2, count: 2 };

const RATIOS = [
  "docker/mayfly-http",
  "runc/mayfly-http",
  ...["floor", "floor-joined"].flatMap((floor) => [`mayfly-runtime/${floor}`, `mayfly-runtime-cold/${floor}`]),
];

export const start: Suite = (bench) => {
  const { rounds, count } = bench.isQuick ? QUICK : FULL;
  const { busybox, say } = bench;
  return withThose(bench, { of: CONTENDERS, subjects: [busybox] }, async (opened) => {
    const lanes = lanesOf(opened, (name, contender) => [
      {
        name,
        unit: "ms",
        note: () => contender.note,
        measure: () => contender.start(busybox, { count, pauseMs: PAUSE_MS }),
      },
    ]);
    return suiteReport(withAbsent(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, say), opened, "ms"), RATIOS);
  });
};
