// density: what a container costs that does nothing, and whether a start is slower because of those that sleep.

import { workloadOf } from "../contenders/mayfly-runtime.ts";
import { RuntimeClient } from "../contenders/runtime-client.ts";
import { memoryUse, shareOf } from "../memory.ts";
import type { Pace } from "../native.ts";
import { suiteReport } from "../report.ts";
import { absent, type Measured, reasonOf } from "../rounds.ts";
import { BLANKS, NO_BLANKS } from "../settings.ts";
import type { Bench, Suite } from "./suite.ts";

const PAUSE_MS = 60;
const FULL = { blanks: 200, sleeping: [0, 100, 1_000], count: 40 };
const QUICK = { blanks: 4, sleeping: [0, 2, 6], count: 2 };

export const density: Suite = async (bench) => {
  const sizes = bench.isQuick ? QUICK : FULL;
  const names = sizes.sleeping.map((count) => `start-${count}`);
  const measured = [await blankMemory(bench, sizes.blanks), ...(await amongSleepers(bench, sizes))];
  return suiteReport(
    measured,
    names.slice(1).map((name) => `${name}/${names[0]}`),
  );
};

/** A runtime with none is there before, and has run once: what is new after is the blanks. */
async function blankMemory(bench: Bench, count: number): Promise<Measured> {
  const { workshop, busybox, say } = bench;
  const [name, unit] = ["blank-memory", "KiB"];
  const client = new RuntimeClient();
  try {
    say(`${name}: ${count} blanks`);
    const { driver } = await client.create(workshop, NO_BLANKS);
    if (driver !== "launcher") return absent(name, unit, `the driver ${driver} makes no blanks`);
    await client.call("start", { workload: workloadOf(busybox), pace: { count: 1, pauseMs: 0 } });
    await client.call("close", null);
    const before = await memoryUse();
    await client.create(workshop, { min: count, max: count });
    await client.call("ready", null);
    const { kib, note } = shareOf(before, await memoryUse(), count);
    return { name, unit, note: `of ${count}; ${note}`, rounds: [[kib]] };
  } catch (error) {
    return absent(name, unit, reasonOf(error));
  } finally {
    await client.stop();
  }
}

/**
 * Starts among more and more sleepers, and then among none again: what the machine does by itself meanwhile is in the first row
 * too. Memory is taken at each step, so a sleeper's share is there once a step.
 */
async function amongSleepers(bench: Bench, { sleeping, count }: typeof FULL): Promise<Measured[]> {
  const { workshop, busybox, say } = bench;
  const workload = workloadOf(busybox);
  const pace: Pace = { count, pauseMs: PAUSE_MS };
  const client = new RuntimeClient();
  const starts = new Map<number, number[][]>(sleeping.map((each) => [each, []]));
  const shares: { kib: number; note: string }[] = [];
  let failure = "";
  let driver = "unknown";
  try {
    ({ driver } = await client.create(workshop, BLANKS));
    await client.call("start", { workload, pace: { count: 2, pauseMs: 0 } });
    let asleep = 0;
    let before = await memoryUse();
    for (const wanted of sleeping) {
      say(`density: ${wanted} asleep`);
      if (wanted > asleep) {
        await client.call("sleep", { workload, count: wanted - asleep });
        await client.call("ready", null);
        const after = await memoryUse();
        shares.push(shareOf(before, after, wanted - asleep));
        [asleep, before] = [wanted, after];
      }
      starts.get(wanted)?.push([...(await client.call("start", { workload, pace })).ms]);
    }
    say("density: all awake");
    await client.call("wake", null);
    starts.get(0)?.push([...(await client.call("start", { workload, pace })).ms]);
  } catch (error) {
    failure = `${reasonOf(error)}; `;
  } finally {
    await client.stop();
  }
  const note = `mayfly-runtime, driver ${driver}, with so many containers alive that sleep`;
  return [
    {
      name: "sleeping-memory",
      unit: "KiB",
      note: `${failure}busybox sleep, its supervisor included, once a step; ${shares.at(-1)?.note ?? "nothing was measured"}`,
      rounds: shares.map(({ kib }) => [kib]),
    },
    ...[...starts].map(([each, rounds]) => ({
      name: `start-${each}`,
      unit: "ms",
      note: rounds.length === 0 ? `${failure}${note}` : note,
      rounds,
    })),
  ];
}
