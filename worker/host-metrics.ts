// What a worker measures of its host: room given and taken, blanks, pulls.

import type { Capacity } from "../core/host.ts";
import type { Pulled, Runtime } from "../runtime/index.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/metrics.ts";
import type { Ledger } from "./admission.ts";

const ROOM = [
  ["cpus", "cpus", "CPUs"],
  ["memoryBytes", "memory_bytes", "memory"],
  ["pids", "pids", "processes and threads"],
  ["slots", "slots", "runs alive at once"],
] as const satisfies readonly (readonly [keyof Capacity, string, string])[];

export function measureHost(metrics: Metrics, ledger: Ledger, runtime: Pick<Runtime, "blanks">): void {
  for (const [of, unit, words] of ROOM) {
    const one = (value: () => number) => () => [{ labels: {}, value: value() }];
    metrics.gauge(
      `mayfly_host_capacity_${unit}`,
      `Given to runs: ${words}.`,
      one(() => ledger.capacity[of]),
    );
    const used = () => ledger.capacity[of] - ledger.free[of];
    metrics.gauge(`mayfly_host_used_${unit}`, `Taken by runs: ${words}.`, one(used));
  }
  const blanks = (of: "ready" | "wanted") => async () => [{ labels: {}, value: (await runtime.blanks())[of] }];
  metrics.gauge("mayfly_blanks_ready", "Containers that are kept ready.", blanks("ready"));
  metrics.gauge("mayfly_blanks_wanted", "As many as are to be kept ready now.", blanks("wanted"));
}

/** Told of each pull of layers that the host lacked. */
export function pullMeter(metrics: Metrics): (pulled: Pulled) => void {
  const pulls: Counter = metrics.counter("mayfly_pulls_total", "Pulls of layers that the host lacked.", ["result"]);
  const bytes: Counter = metrics.counter("mayfly_pull_bytes_total", "Of the blobs of layers that were pulled.");
  const seconds: Histogram = metrics.histogram("mayfly_pull_seconds", "Time that a pull of layers took.", ["result"]);
  return (pulled) => {
    const result = pulled.isWhole ? "done" : "failed";
    pulls.add({ result });
    bytes.add({}, pulled.isWhole ? pulled.bytes : 0);
    seconds.observe({ result }, pulled.ms / 1000);
  };
}
