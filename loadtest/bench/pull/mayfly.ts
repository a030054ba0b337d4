// Mayfly's runtime as a library, in a process of its own, as in a worker; a new one, with nothing on its disk, for each pull.

import { readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeClient } from "../contenders/runtime-client.ts";
import { NO_BLANKS } from "../settings.ts";
import type { Workshop } from "../workshop.ts";
import type { Puller } from "./puller.ts";

const SAMPLE_MS = 20;
const KIB = 1024;

export interface MayflyPuller extends Puller {
  /** By how much the process and its children grew during the pulls since this was last asked, in MiB, one figure a pull. */
  grownMib(): readonly number[];
}

export async function openMayfly(workshop: Workshop): Promise<MayflyPuller> {
  let client = new RuntimeClient();
  let stateDir = "";
  let grown: number[] = [];
  const begin = async () => {
    client = new RuntimeClient();
    stateDir = (await client.create(workshop, NO_BLANKS)).stateDir;
  };
  const end = async () => {
    await client.stop();
    await rm(stateDir, { recursive: true, force: true });
  };
  await begin();
  return {
    name: "mayfly",
    note: "runtime.ensureImage, the runtime as a library",
    async pull(reference) {
      const idle = treeKib(client.pid);
      let peak = idle;
      const sampling = setInterval(() => {
        peak = Math.max(peak, treeKib(client.pid));
      }, SAMPLE_MS);
      try {
        return await client.call("pull", reference);
      } finally {
        clearInterval(sampling);
        grown.push((peak - idle) / KIB);
      }
    },
    async forget() {
      await end();
      await begin();
    },
    close: end,
    grownMib() {
      const told = grown;
      grown = [];
      return told;
    },
  };
}

/** What the process and all below it have resident, in KiB; what they share counts for each. */
function treeKib(root: number): number {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const parent = Number(/\) \S (\d+)/.exec(read(join("/proc", name, "stat")))?.[1] ?? 0);
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const below = (pid: number): number[] => [pid, ...(parents.get(pid) ?? []).flatMap(below)];
  return below(root).reduce((sum, pid) => sum + residentKib(pid), 0);
}

const residentKib = (pid: number) => Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has just ended.
  }
}
