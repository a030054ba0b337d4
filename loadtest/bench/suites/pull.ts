// pull: from a registry on this machine until a container could be started. Everybody pulls each image in turn, round after
// round, from disks that nobody has read from since the last time.

import { writeFileSync } from "node:fs";
import type { ContenderName } from "../arguments.ts";
import { type Ratio, ratioOf } from "../figures.ts";
import { runLong } from "../long-command.ts";
import { PULL_IMAGES, pushPullImage } from "../pull/images.ts";
import { type MayflyPuller, openMayfly } from "../pull/mayfly.ts";
import { openContainerd, openDocker, openSkopeoUmoci } from "../pull/peers.ts";
import { type Puller, rowName } from "../pull/puller.ts";
import { runsWhilePulling } from "../pull/runs-while-pulling.ts";
import { rowOf, type SuiteReport } from "../report.ts";
import { absent, interleave, type Lane, type Measured, reasonOf } from "../rounds.ts";
import type { Bench, Suite } from "./suite.ts";

const MIB = 2 ** 20;
/** The content of an image; gzip makes some 200 MB of the larger. */
const FULL = { rounds: 5, bytes: 480 * MIB };
const QUICK = { rounds: 1, bytes: 5 * MIB };
const SETTLE_MS = 500;

/** A contender that is left out on the command line is left out here, too. */
const PULLERS: readonly { name: Puller["name"]; of: ContenderName; open: (bench: Bench) => Promise<Puller> }[] = [
  { name: "mayfly", of: "mayfly-runtime", open: ({ workshop }) => openMayfly(workshop) },
  { name: "docker", of: "docker", open: ({ workshop }) => openDocker(workshop) },
  { name: "containerd", of: "containerd", open: ({ workshop }) => openContainerd(workshop) },
  { name: "skopeo-umoci", of: "mayfly-runtime", open: ({ workshop }) => openSkopeoUmoci(workshop) },
];
const PEERS = ["docker", "containerd", "skopeo-umoci"] as const;

export const pull: Suite = async (bench) => {
  const { rounds, bytes } = bench.isQuick ? QUICK : FULL;
  const references = new Map<string, string>();
  for (const image of PULL_IMAGES) {
    bench.say(`making the image ${image.name}`);
    references.set(image.name, await pushPullImage(bench.workshop, image, { bytes, cacheDir: bench.cacheDir }));
  }
  const pullers: Puller[] = [];
  const missing: Measured[] = [];
  try {
    for (const { name, open } of PULLERS.filter(({ of }) => bench.names.includes(of))) {
      bench.say(`getting ready: ${name}`);
      try {
        pullers.push(await open(bench));
      } catch (error) {
        missing.push(...PULL_IMAGES.map((image) => absent(rowName(name, image.name), "ms", reasonOf(error))));
      }
    }
    const lanes = PULL_IMAGES.flatMap(({ name }) =>
      pullers.map((puller) => laneOf(puller, name, references.get(name))),
    );
    const measured = await interleave(lanes, { rounds, settleMs: SETTLE_MS }, bench.say);
    const noticed = await noticedBy(bench, references);
    const report = reportOf([...measured, ...memoryOf(pullers), ...missing, ...noticed.rows]);
    return { ...report, ratios: [...report.ratios, ...noticed.ratios] };
  } finally {
    for (const puller of pullers.toReversed()) await puller.close();
  }
};

async function noticedBy(
  bench: Bench,
  references: ReadonlyMap<string, string>,
): Promise<{ rows: Measured[]; ratios: Ratio[] }> {
  if (!bench.names.includes("mayfly-http")) return { rows: [], ratios: [] };
  try {
    const { rows, ratio } = await runsWhilePulling(bench, [
      references.get("five-gzip") ?? "",
      references.get("one-gzip") ?? "",
    ]);
    return { rows, ratios: [ratio] };
  } catch (error) {
    return { rows: [absent("run while pulling", "ms", reasonOf(error))], ratios: [] };
  }
}

function laneOf(puller: Puller, image: (typeof PULL_IMAGES)[number]["name"], reference = ""): Lane {
  return {
    name: rowName(puller.name, image),
    unit: "ms",
    note: () => puller.note,
    async measure() {
      await dropCaches();
      try {
        return [await puller.pull(reference)];
      } finally {
        await puller.forget(reference);
      }
    },
  };
}

function memoryOf(pullers: readonly Puller[]): Measured[] {
  const mayfly = pullers.find((puller): puller is MayflyPuller => puller.name === "mayfly");
  if (!mayfly) return [];
  const note = "by how much the worker's process and its children grow while they pull; shared pages count for each";
  return [{ name: "mayfly memory", unit: "MiB", note, rounds: [mayfly.grownMib()] }];
}

/** What is dirty is written first: nobody is to pay for what another has left behind. */
async function dropCaches(): Promise<void> {
  await runLong(["sync"]);
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** `docker/mayfly five-gzip`: how many times as long Docker took. */
function reportOf(measured: readonly Measured[]): SuiteReport {
  const roundsOf = (name: string) => measured.find((each) => each.name === name)?.rounds ?? [];
  const ratios = PULL_IMAGES.flatMap(({ name }) =>
    PEERS.map((peer) =>
      ratioOf(`${peer}/mayfly ${name}`, roundsOf(rowName(peer, name)), roundsOf(rowName("mayfly", name))),
    ),
  );
  return { rows: measured.map(rowOf), ratios: ratios.filter((ratio) => ratio !== undefined) };
}
