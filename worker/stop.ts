// How a program is brought to its end once there is a reason to.

import { ARTIFACT_BOUNDS } from "../core/artifacts.ts";
import type { Sandbox } from "../runtime/index.ts";
import type { Ending } from "./ending.ts";

/**
 * Stops the program once there is a reason: SIGTERM, then SIGKILL when the grace is over. A hold that is lost, and a worker
 * that leaves, wait for nothing, and collect nothing. Returns the way to stop watching.
 */
export function stopOn(ending: Ending, sandbox: Sandbox, graceMs: number): () => void {
  let clock: NodeJS.Timeout | undefined;
  const kill = () => sandbox.kill();
  const end = () => {
    clearTimeout(clock);
    sandbox.killProgram();
    clock = setTimeout(kill, ARTIFACT_BOUNDS.collectMs); // It is a request to a PID 1 that may not hear.
  };
  const stop = () => {
    const isPolite = ending.reason?.kind === "cancelled" || ending.reason?.kind === "timed_out";
    if (!isPolite) return kill();
    if (graceMs === 0 || ending.hurried.aborted) return end();
    sandbox.signal("SIGTERM");
    clock = setTimeout(end, graceMs);
    ending.hurried.addEventListener("abort", end, { once: true });
  };
  if (ending.signal.aborted) stop();
  else ending.signal.addEventListener("abort", stop, { once: true });
  return () => {
    ending.signal.removeEventListener("abort", stop);
    ending.hurried.removeEventListener("abort", end);
    clearTimeout(clock);
  };
}
