// density: what a container costs that does nothing, and whether a start is slower because of those that sleep.

import { memoryCharged } from "../cgroups.ts";
import { workloadOf } from "../contenders/mayfly-runtime.ts";
import { RuntimeClient } from "../contenders/runtime-client.ts";
import { memoryUse, type Share, shareOf } from "../memory.ts";
import { suiteReport } from "../report.ts";
import { absent, type Measured, reasonOf } from "../rounds.ts";
import { BLANKS, NO_BLANKS } from "../settings.ts";
import type { Bench, Suite } from "./suite.ts";

const PAUSE_MS = 60;
const FULL = { blanks: 200, rounds: 3, sleeping: [0, 100, 1_000], count: 40 };
const QUICK = { blanks: 4, rounds: 1, sleeping: [0, 2, 6], count: 2 };
const KIB = 1024;

export const density: Suite = async (bench) => {
  const sizes = bench.isQuick ? QUICK : FULL;
  const [none, ...some] = sizes.sleeping.map((count) => `start-${count}`);
  return suiteReport(
    [...(await blanks(bench, sizes)), ...(await sleepers(bench, sizes))],
    some.map((name) => `${name}/${none}`),
  );
};

/** What was seen of many alike: the machine's memory, a share each round, and what their cgroups say, each of its own. */
interface Seen {
  readonly shares: Share[];
  readonly chargedKib: number[];
}

function memoryRows(name: string, what: string, { shares, chargedKib }: Seen, failure: string): Measured[] {
  const parts = shares.at(-1)?.note ?? "";
  return [
    {
      name: `${name}-memory`,
      unit: "KiB",
      note: [failure, `${what}: its share of what the machine has less`, parts].filter((part) => part).join("; "),
      rounds: shares.map(({ kib }) => [kib]),
    },
    {
      name: `${name}-charged`,
      unit: "KiB",
      note: [failure, `${what}: what its memory cgroup is charged with`].filter((part) => part).join("; "),
      rounds: [chargedKib],
    },
  ];
}

/** A runtime without blanks is there before, and has run a container: what is new after is the blanks. */
async function blanks(bench: Bench, { blanks: count, rounds }: typeof FULL): Promise<Measured[]> {
  const { workshop, busybox, say } = bench;
  const seen: Seen = { shares: [], chargedKib: [] };
  const client = new RuntimeClient();
  let failure = "";
  try {
    for (let round = 1; round <= rounds; round++) {
      say(`density: ${count} blanks, round ${round} of ${rounds}`);
      const { driver } = await client.create(workshop, NO_BLANKS);
      if (driver !== "launcher") return memoryRows("blank", "none", seen, `the driver ${driver} makes no blanks`);
      await client.call("start", { workload: workloadOf(busybox), pace: { count: 1, pauseMs: 0 } });
      await client.call("close", null);
      const before = await memoryUse();
      const { cgroup } = await client.create(workshop, { min: count, max: count });
      await client.call("ready", null);
      seen.shares.push(shareOf(before, await memoryUse(), count));
      seen.chargedKib.push(...memoryCharged(cgroup).map((bytes) => bytes / KIB));
      await client.call("close", null);
    }
  } catch (error) {
    failure = reasonOf(error);
  } finally {
    await client.stop();
  }
  return memoryRows("blank", `one of ${count} blanks`, seen, failure);
}

/**
 * Starts among more and more sleepers, and then among none again: what the machine does by itself meanwhile is in the first row
 * too. Memory is taken at each step, so a sleeper's share is there once a step.
 */
async function sleepers(bench: Bench, { sleeping, count }: typeof FULL): Promise<Measured[]> {
  const { workshop, busybox, say } = bench;
  const workload = workloadOf(busybox);
  const client = new RuntimeClient();
  const starts = new Map<number, number[][]>(sleeping.map((each) => [each, []]));
  const seen: Seen = { shares: [], chargedKib: [] };
  const measure = async (among: number) => {
    say(`density: starts among ${among}`);
    starts.get(among)?.push([...(await client.call("start", { workload, pace: { count, pauseMs: PAUSE_MS } })).ms]);
  };
  let failure = "";
  let driver = "";
  try {
    const created = await client.create(workshop, BLANKS);
    driver = created.driver;
    await client.call("start", { workload, pace: { count: 2, pauseMs: 0 } });
    await measure(0);
    let [asleep, before] = [0, await memoryUse()];
    for (const wanted of sleeping.filter((each) => each > 0)) {
      say(`density: ${wanted} fall asleep`);
      await client.call("sleep", { workload, count: wanted - asleep });
      await client.call("ready", null);
      const after = await memoryUse();
      seen.shares.push(shareOf(before, after, wanted - asleep));
      [asleep, before] = [wanted, after];
      await measure(wanted);
    }
    // The few blanks among them are the least of it.
    seen.chargedKib.push(...memoryCharged(created.cgroup).map((bytes) => bytes / KIB));
    await client.call("wake", null);
    await measure(0);
  } catch (error) {
    failure = reasonOf(error);
  } finally {
    await client.stop();
  }
  const note = `mayfly-runtime, driver ${driver}, with so many containers alive that sleep`;
  return [
    ...memoryRows("sleeping", "one busybox sleep, its supervisor included", seen, failure),
    ...[...starts].map(([among, rounds]) =>
      rounds.length === 0
        ? absent(`start-${among}`, "ms", failure || note)
        : { name: `start-${among}`, unit: "ms", note, rounds },
    ),
  ];
}
