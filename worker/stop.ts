// How a program is brought to its end once there is a reason to.

import type { Sandbox } from "../runtime/index.ts";
import type { Ending } from "./ending.ts";

/**
 * Stops the program once there is a reason: SIGTERM, then SIGKILL when the grace is over. A hold that is lost, and a worker
 * that leaves, wait for nothing. Returns the way to stop watching.
 */
export function stopOn(ending: Ending, sandbox: Sandbox, graceMs: number): () => void {
  let grace: NodeJS.Timeout | undefined;
  const kill = () => sandbox.kill();
  const stop = () => {
    const isPolite = ending.reason?.kind === "cancelled" || ending.reason?.kind === "timed_out";
    if (!isPolite || graceMs === 0 || ending.hurried.aborted) return kill();
    sandbox.signal("SIGTERM");
    grace = setTimeout(kill, graceMs);
    ending.hurried.addEventListener("abort", kill, { once: true });
  };
  if (ending.signal.aborted) stop();
  else ending.signal.addEventListener("abort", stop, { once: true });
  return () => {
    ending.signal.removeEventListener("abort", stop);
    ending.hurried.removeEventListener("abort", kill);
    clearTimeout(grace);
  };
}
