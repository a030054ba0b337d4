// What an earlier life of this worker left behind, made good before the first run is taken. The kernel and Redis are asked,
// never memory: containers, cgroups and directories of this host are removed, runs that it held are given up.

import type { Log } from "../core/log.ts";
import type { Runtime } from "../runtime/index.ts";
import type { RunStore } from "./run-store.ts";

export async function reconcile(runtime: Runtime, store: RunStore, hostId: string, log: Log): Promise<void> {
  const { sandboxes } = await runtime.removeLeftovers();
  // Only now: a run may start elsewhere as soon as it is given up, and its container here must be gone by then.
  const held = await store.heldBy(hostId);
  await Promise.all(held.map((attempt) => store.release(attempt, "its worker was restarted", attempt.holder)));
  if (sandboxes.length + held.length > 0) log.warn("host.reconciled", { sandboxes, runs: held.map(({ id }) => id) });
}
