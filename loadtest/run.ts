// npm run loadtest -- SCENARIO: brings up a whole stack, measures what it can do, has k6 load it, shows where the time went,
// and stops everything. Its exit status says whether all thresholds held.

import { writeFileSync } from "node:fs";
import { runOnce } from "../infra/first-run.ts";
import { ProgressView } from "../infra/progress.ts";
import { type LoadTest, parseArguments } from "./arguments.ts";
import { measureCapacity } from "./capacity.ts";
import { type Load, SCENARIOS, type Scenario } from "./k6/scenarios.js";
import { K6 } from "./k6.ts";
import { LeakWatch } from "./leak-watch.ts";
import { answersLine, phaseTable, reportOf } from "./summary.ts";
import { LocalStack, type Target } from "./target.ts";

const HELP = `npm run loadtest -- SCENARIO [FLAGS]: loads Mayfly with k6, and exits 1 if a threshold was crossed.

  list              says what scenarios there are
  --duration TIME   how long runs arrive, such as 90s or 10m
  --rate NUMBER     runs a second (of ramp: at its peak; of burst: how many at once); without it,
                    a share of what the host was measured to do
  --summary FILE    writes the figures there, as JSON
  --url URL         loads this gateway instead of a stack of its own, and
  --image REF       has it run this image, which needs busybox' commands

Settings of the gateway and the worker, such as MAYFLY_SLOTS, hold for the stack, but those that the scenario needs.`;

const view = new ProgressView(process.stdout);
const k6 = new K6();
let stack: LocalStack | undefined;
let isFailing = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => void fail(new Error(`stopped by ${signal}`)));
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  const command = parseArguments(process.argv.slice(2));
  if (command.kind === "help") view.print(HELP);
  else if (command.kind === "list") view.print(list());
  else process.exitCode = (await loadTest(command)) ? 0 : 1;
  process.exit();
} catch (error) {
  await fail(error);
}

function list(): string {
  return Object.entries(SCENARIOS)
    .map(([name, { says, durationS }]) => `${name.padEnd(8)}${`${durationS} s`.padStart(6)}   ${says}`)
    .join("\n");
}

/** Whether all held. */
async function loadTest(asked: LoadTest): Promise<boolean> {
  const scenario = SCENARIOS[asked.scenario] as Scenario;
  await K6.install();
  if (asked.target) return underLoad(asked, scenario, asked.target);
  stack = LocalStack.make({ env: process.env, settings: scenario.settings, onProgress: (step) => view.show(step) });
  const target = await stack.start();
  const isGood = await Promise.race([underLoad(asked, scenario, target), stack.watch()]);
  await stack.stop();
  return isGood;
}

async function underLoad(asked: LoadTest, scenario: Scenario, target: Target): Promise<boolean> {
  await runOnce(target.url, { image: target.image, command: ["true"] }); // The image is there from now on.
  const watch = scenario.isLeakChecked && target.host ? new LeakWatch(target.host) : undefined;
  await watch?.begin();
  const { load, capacity } = await loadOf(asked, scenario, target);
  const exported = await k6.run({ url: target.url, image: target.image, name: asked.scenario, load });
  const report = reportOf(exported);
  const leaks = (await watch?.end()) ?? [];
  const crossed = [...report.crossed, ...leaks.map((leak) => `a leak: ${leak}`)];
  view.print(`\n${phaseTable(report)}\n\n${answersLine(report)}`);
  if (watch && leaks.length === 0) view.print("the kernel has of the host what it had before");
  view.print(crossed.length === 0 ? "all thresholds held" : `crossed:\n  ${crossed.join("\n  ")}`);
  if (asked.summaryFile) {
    const summary = { scenario: asked.scenario, ...load, capacity, ...report, crossed, leaks, k6: exported.metrics };
    writeFileSync(asked.summaryFile, `${JSON.stringify(summary, undefined, 2)}\n`);
  }
  return crossed.length === 0;
}

/** The rate is the caller's, or the scenario's own, or a share of what the target can do, which is measured then. */
async function loadOf(asked: LoadTest, scenario: Scenario, target: Target): Promise<{ load: Load; capacity?: number }> {
  const durationS = asked.durationS ?? scenario.durationS;
  if (asked.rate !== undefined) return { load: { rate: asked.rate, durationS } };
  if ("rate" in scenario.rate) return { load: { rate: scenario.rate.rate, durationS } };
  const capacity = await measureCapacity(target, scenario.kinds);
  const rate = scenario.rate.share * capacity;
  view.print(
    `  the target does ${capacity.toFixed(1)} such runs a second; ${asked.scenario}: ${rate.toFixed(1)} a second`,
  );
  return { load: { rate, durationS }, capacity };
}

/** Called again, by a second Ctrl-C perhaps, it ends at once what it is waiting for. */
async function fail(error: unknown): Promise<void> {
  if (!isFailing) {
    view.clear();
    process.stderr.write(`The load test failed: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  isFailing = true;
  k6.stop();
  await stack?.stop();
  process.exit(1);
}
