// npm run bench: Mayfly, other engines and the kernel's own floor, side by side in one run; a table, and on request JSON and plots.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HELP, type Options, parseOptions } from "./arguments.ts";
import { closeContenders } from "./contenders/all.ts";
import { installPeers } from "./long-command.ts";
import { describeMachine } from "./machine.ts";
import { buildNative, killTimed } from "./native.ts";
import { svgPlot } from "./plot.ts";
import { progressOn } from "./progress.ts";
import type { Report, SuiteReport } from "./report.ts";
import { busyboxSubject } from "./subject.ts";
import { SUITE } from "./suites/all.ts";
import { suiteTable } from "./table.ts";
import { openWorkshop, type Workshop } from "./workshop.ts";

const PLOTS = join(import.meta.dirname, "../../docs/performance");
/** Three times what all suites take on a slow machine. */
const LIMIT_MS = 3 * 60 * 60_000;

const { say, clear } = progressOn(process.stderr);

let workshop: Workshop | undefined;
let isLeaving = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => void fail(new Error(`stopped by ${signal}`)));
setTimeout(() => void fail(new Error(`not over within ${LIMIT_MS / 3_600_000} hours`)), LIMIT_MS).unref();
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.wantsHelp) process.stdout.write(HELP);
  else await bench(options);
  process.exit(0);
} catch (error) {
  await fail(error);
}

async function bench(options: Options): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("containers are made by root: the benchmark has to be started as root");
  if (options.installsPeers) await installPeers();
  await buildNative();
  workshop = await openWorkshop(options);
  const machine = describeMachine();
  process.stdout.write(`${Object.values(machine).join(" · ")}\n\n`);
  const busybox = await busyboxSubject(workshop);
  const suites: Record<string, SuiteReport> = {};
  for (const name of options.suites) {
    const suite = await SUITE[name]({ workshop, busybox, names: options.contenders, ...options, say });
    clear();
    suites[name] = suite;
    process.stdout.write(`${suiteTable(name, suite)}\n`);
    save(options, { machine, suites });
  }
  await workshop.close();
}

/** After each suite: what was measured is kept if a later one fails. */
function save({ jsonFile, isPlotted }: Options, report: Report): void {
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
  if (!isPlotted) return;
  mkdirSync(PLOTS, { recursive: true });
  for (const [name, suite] of Object.entries(report.suites))
    writeFileSync(join(PLOTS, `${name}.svg`), svgPlot(name, suite, report.machine));
}

/** Called again, by a second Ctrl-C perhaps, it goes at once. */
async function fail(error: unknown): Promise<void> {
  if (isLeaving) process.exit(1);
  isLeaving = true;
  clear();
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  killTimed();
  await closeContenders();
  await workshop?.close();
  process.exit(1);
}
