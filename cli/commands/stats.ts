// mayfly stats: what is in use. Of a cluster what its hosts tell; of a run what was measured when it ended, since nobody measures before.

import type { HostRecord } from "../../core/host.ts";
import { formatDuration } from "../../core/units.ts";
import type { Run } from "../client.ts";
import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { EXIT } from "../exit-codes.ts";
import { humanSize } from "../human-size.ts";
import { printJson } from "../io.ts";
import { alignColumns } from "../table.ts";
import { loadOf } from "./hosts.ts";

export const stats = defineCommand({
  name: "stats",
  synopsis: "[ID...]",
  says: "Shows what runs have taken of each host; or, of runs, what they have used.",
  notes: [
    "Of hosts: the slots, CPUs and memory that runs were given, which are their limits and not what\nthey use of them. Of runs: CPU time and peak of memory, which are measured when a run ends.",
  ],
  flags: {},
  operands: { min: 0, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly stats", "mayfly stats run_01k9xq2v7n3b8c5d6e7f8g9h0j --json"],
  execute: async ({ operands, json, io, client }) => {
    if (operands.length === 0) {
      const hosts = await client.hosts.list();
      if (json) for (const host of hosts) await printJson(io, usageOf(host));
      else await io.stdout.write(`${hostTable(hosts).join("\n")}\n`);
      return EXIT.ok;
    }
    const runs: Run[] = [];
    const exitCode = await eachRun(operands, { io, json, helpOf: "mayfly stats" }, async (id) => {
      runs.push(await client.getRun(id));
    });
    if (json) for (const run of runs) await printJson(io, used(run));
    else if (runs.length > 0) await io.stdout.write(`${runTable(runs).join("\n")}\n`);
    return exitCode;
  },
});

function usageOf({ id, running, capacity, free }: HostRecord) {
  const taken = {
    slots: capacity.slots - free.slots,
    cpus: capacity.cpus - free.cpus,
    memoryBytes: capacity.memoryBytes - free.memoryBytes,
  };
  return { host: id, running, taken, capacity };
}

/** The last row is all of them together. */
function hostTable(hosts: readonly HostRecord[]): string[] {
  const total = { capacity: sumOf(hosts, "capacity"), free: sumOf(hosts, "free") };
  const running = hosts.reduce((sum, host) => sum + host.running, 0);
  const rows = hosts.map((host) => [host.id, String(host.running), ...loadOf(host)]);
  return alignColumns([
    ["HOST", "RUNS", "SLOTS", "CPUS", "MEMORY"],
    ...rows,
    ["all", String(running), ...loadOf(total)],
  ]);
}

function sumOf(hosts: readonly HostRecord[], which: "capacity" | "free"): HostRecord["capacity"] {
  const sum = (name: keyof HostRecord["capacity"]) => hosts.reduce((total, host) => total + host[which][name], 0);
  return { cpus: sum("cpus"), memoryBytes: sum("memoryBytes"), pids: sum("pids"), slots: sum("slots") };
}

const used = ({ id, state, receipt }: Run) => ({
  ...{ id, state, cpuMs: receipt?.cpuMs, peakMemoryBytes: receipt?.peakMemoryBytes, throttledMs: receipt?.throttledMs },
});

function runTable(runs: readonly Run[]): string[] {
  const rows = runs.map(({ id, state, receipt }) => [
    ...[id, state, receipt?.host ?? "-"],
    receipt?.cpuMs === undefined ? "-" : formatDuration(Math.round(receipt.cpuMs)),
    receipt?.peakMemoryBytes === undefined ? "-" : humanSize(receipt.peakMemoryBytes),
  ]);
  return alignColumns([["ID", "STATE", "HOST", "CPU TIME", "PEAK MEMORY"], ...rows]);
}
