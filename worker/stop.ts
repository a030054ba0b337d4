// How a program is brought to its end once there is a reason to.

import { ARTIFACT_BOUNDS } from "../core/artifacts.ts";
import type { Sandbox } from "../runtime/index.ts";
import type { Ending } from "./ending.ts";

/** Does it once, now if the signal has come already. Returns the way not to. */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) act();
  else signal.addEventListener("abort", act, { once: true });
  return () => signal.removeEventListener("abort", act);
}

/**
 * Stops the program once there is a reason: SIGTERM, then SIGKILL when the grace is over. A hold that is lost, and a worker
 * that leaves, wait for nothing, and collect nothing. Returns the way to stop watching.
 */
export function stopOn(ending: Ending, sandbox: Sandbox, graceMs: number): () => void {
  const stops: (() => void)[] = [];
  let clock: NodeJS.Timeout | undefined;
  const kill = () => sandbox.kill();
  const end = () => {
    clearTimeout(clock);
    sandbox.killProgram();
    clock = setTimeout(kill, ARTIFACT_BOUNDS.collectMs); // It is a request to a PID 1 that may not hear.
  };
  const stop = () => {
    if (ending.abandoned.aborted) return; // Killed already.
    const isPolite = ending.reason?.kind === "cancelled" || ending.reason?.kind === "timed_out";
    if (!isPolite) return kill();
    if (graceMs === 0 || ending.hurried.aborted) return end();
    sandbox.signal("SIGTERM");
    clock = setTimeout(end, graceMs);
    stops.push(onAbort(ending.hurried, end));
  };
  const leave = () => {
    clearTimeout(clock);
    kill();
  };
  stops.push(onAbort(ending.abandoned, leave), onAbort(ending.signal, stop));
  return () => {
    for (const stopOne of stops) stopOne();
    clearTimeout(clock);
  };
}
