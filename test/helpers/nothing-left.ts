// Waits until a host has nothing of any sandbox. What stays is told.

import { setTimeout as delay } from "node:timers/promises";
import { launcherPids } from "./launcher.ts";
import { type HostUnderTest, traces } from "./leak-check.ts";

/** More than the launcher's own limit for removing a sandbox. */
const PATIENCE_MS = 60_000;

/** Blanks, and a launcher that is alive, are no leftovers; a child that has ended and is not reaped is one. */
export async function nothingLeft(host: HostUnderTest, { launcher }: { launcher: boolean }): Promise<void> {
  for (const sinceMs = performance.now(); ; ) {
    const { mounts, cgroups, processes, networkNamespaces, launchers } = await traces(host);
    const zombies = (await launcherPids(host))?.zombies ?? [];
    const left = [mounts, cgroups, processes, networkNamespaces, zombies, launcher ? [] : launchers];
    if (left.every((list) => list.length === 0)) return;
    if (performance.now() - sinceMs > PATIENCE_MS) throw new Error(`left: ${JSON.stringify(left)}`);
    await delay(20);
  }
}
