// Everybody, by name, and how a suite gets hold of those that it wants.

import type { ContenderName } from "../arguments.ts";
import type { Say } from "../progress.ts";
import { reasonOf } from "../rounds.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";
import { openBwrap } from "./bwrap.ts";
import { openContainerd } from "./containerd.ts";
import type { Contender, OpenContender } from "./contender.ts";
import { openDocker } from "./docker.ts";
import { openFloor, openFloorJoined } from "./floor.ts";
import { openMayflyHttp } from "./mayfly-http.ts";
import { openMayflyRuntime, openMayflyRuntimeCold } from "./mayfly-runtime.ts";
import { openCrun, openRunc } from "./oci-bundle.ts";
import { openPodman } from "./podman.ts";

const OPENERS: Readonly<Record<ContenderName, OpenContender>> = {
  "mayfly-http": openMayflyHttp,
  "mayfly-runtime": openMayflyRuntime,
  "mayfly-runtime-cold": openMayflyRuntimeCold,
  docker: openDocker,
  containerd: openContainerd,
  podman: openPodman,
  crun: openCrun,
  runc: openRunc,
  bwrap: openBwrap,
  floor: openFloor,
  "floor-joined": openFloorJoined,
};

export interface Open {
  readonly name: ContenderName;
  /** Undefined if it cannot be had here, and then `reason` says why. */
  readonly contender: Contender | undefined;
  readonly reason: string;
}

/** Those that have been opened and not yet closed. */
const opened = new Map<Contender, ContenderName>();

/** Closes whoever is open, the last first: the benchmark is leaving early. */
export async function closeContenders(): Promise<void> {
  for (const contender of [...opened.keys()].toReversed()) await close(contender);
}

/**
 * Opens and prepares the contenders, calls `use`, and closes them, whatever happens. One that cannot be opened, or cannot
 * run a subject even once, is handed over as absent: it fails nobody else.
 */
export async function withContenders<T>(
  options: { workshop: Workshop; names: readonly ContenderName[]; subjects: readonly Subject[]; say: Say },
  use: (opened: readonly Open[]) => Promise<T>,
): Promise<T> {
  try {
    const all: Open[] = [];
    for (const name of options.names) {
      options.say(`getting ready: ${name}`);
      all.push(await open(name, options));
    }
    return await use(all);
  } finally {
    options.say("closing");
    await closeContenders();
  }
}

async function open(
  name: ContenderName,
  { workshop, subjects }: { workshop: Workshop; subjects: readonly Subject[] },
): Promise<Open> {
  let contender: Contender | undefined;
  try {
    contender = await OPENERS[name](workshop);
    opened.set(contender, name);
    for (const subject of subjects) await contender.prepare(subject);
    return { name, contender, reason: "" };
  } catch (error) {
    if (contender) await close(contender);
    return { name, contender: undefined, reason: reasonOf(error) };
  }
}

/** What it may have left goes with the workshop. */
async function close(contender: Contender): Promise<void> {
  const name = opened.get(contender);
  opened.delete(contender);
  await contender.close().catch((error) => process.stderr.write(`bench: ${name} was not closed: ${reasonOf(error)}\n`));
}
