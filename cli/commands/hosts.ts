// mayfly hosts: who is there, and who is to take no new runs.

import { HostRecord } from "../../core/host.ts";
import { DURATION_FORM, parseDuration } from "../../core/units.ts";
import { chooseAction } from "../action.ts";
import { type Colour, type Paint, paintFor } from "../colour.ts";
import { defineCommand, FORMAT_FLAG, type Input } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { EXIT } from "../exit-codes.ts";
import { parseTemplate } from "../format.ts";
import { humanSize } from "../human-size.ts";
import { note, printJson } from "../io.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const FLAGS = {
  timeout: { value: "DURATION", says: "Of drain: when what still runs is given up; 10m otherwise." },
  detach: { short: "d", says: "Of drain: returns at once; it goes on without you." },
  format: FORMAT_FLAG,
} as const;

type HostsInput = Input<typeof FLAGS>;
type Action = (host: string, input: HostsInput) => Promise<HostRecord>;

const ACTIONS: Readonly<Record<string, Action | "list">> = {
  ls: "list",
  cordon: (host, { client }) => client.hosts.cordon(host),
  uncordon: (host, { client }) => client.hosts.uncordon(host),
  drain,
};

export const hosts = defineCommand({
  name: "hosts",
  synopsis: "[ACTION] [HOST...]",
  says: "Lists hosts with what they have and do, or takes them out of service and back.",
  notes: [
    [
      "ls                lists all; so does the command without an action",
      "cordon HOST...    they take no new runs, also if their workers are started again",
      "uncordon HOST...  they take runs again",
      "drain HOST...     cordons them, and waits until they have none; Ctrl-C ends the waiting only",
    ].join("\n"),
  ],
  actions: Object.keys(ACTIONS),
  flags: FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY },
  examples: [
    "mayfly hosts",
    "mayfly hosts drain vm-c4f20be5 --timeout 1h",
    "mayfly hosts --format '{{.id}} {{.state}}'",
  ],
  execute: async (input) => {
    const [word = "ls", ...names] = input.operands;
    const action = chooseAction(ACTIONS, word);
    const { flags, io, json } = input;
    if (word !== "drain" && (flags.timeout !== undefined || flags.detach))
      throw new UsageError(`${word} has no use for --timeout and --detach`);
    if (flags.timeout !== undefined && parseDuration(flags.timeout) === undefined)
      throw new UsageError(`--timeout ${JSON.stringify(flags.timeout)} is not ${DURATION_FORM}`);
    const show = shower(input);
    if (action === "list") {
      if (names.length > 0) throw new UsageError(`${JSON.stringify(names[0])} is one argument too many`);
      await show.all(await input.client.hosts.list());
      return EXIT.ok;
    }
    if (names.length === 0) throw new UsageError(`HOST is missing; it takes ${word} HOST...`);
    return eachRun(names, { io, json, helpOf: "mayfly hosts" }, async (name) => show.one(await action(name, input)));
  },
});

async function drain(id: string, { client, flags, io, json }: HostsInput): Promise<HostRecord> {
  const host = await client.hosts.drain(id, { timeout: flags.timeout });
  if (flags.detach || host.state !== "draining") return host;
  if (!json) await note(io, `${id} has ${host.running} runs; what is left at ${host.duty?.drainUntil} is given up`);
  return client.hosts.drained(id);
}

function shower({ flags: { format }, io, json }: HostsInput) {
  const template = format === undefined ? undefined : parseTemplate(format, HostRecord);
  const line = async (host: HostRecord): Promise<void> => {
    if (template) await io.stdout.write(`${template(host)}\n`);
    else await printJson(io, host);
  };
  return {
    async one(host: HostRecord): Promise<void> {
      if (template || json) await line(host);
      else await io.stdout.write(`${host.id}: ${host.state}\n`);
    },
    async all(list: readonly HostRecord[]): Promise<void> {
      if (template || json) for (const host of list) await line(host);
      else await io.stdout.write(`${table(list, Date.now(), paintFor(io)).join("\n")}\n`);
    },
  };
}

const STATE_COLUMN = 2;
const COLOURS: Readonly<Record<HostRecord["state"], Colour>> = {
  ready: "green",
  cordoned: "yellow",
  draining: "yellow",
};

export function table(list: readonly HostRecord[], nowMs: number, paint: Paint = (text) => text): string[] {
  const rows = list.map((host) => [
    ...[host.id, host.pool, host.state, String(host.running), ...loadOf(host)],
    ...[host.version, formatAge(nowMs - Date.parse(host.startedAt))],
  ]);
  const head = ["HOST", "POOL", "STATE", "RUNS", "SLOTS", "CPUS", "MEMORY", "VERSION", "UP"];
  return alignColumns([head, ...rows], (cell, column, row) => {
    const host = list[row - 1];
    return host && column === STATE_COLUMN ? paint(cell, COLOURS[host.state]) : cell;
  });
}

/** What runs have of slots, CPUs and memory, of what there is: `3/64`. */
export function loadOf({ capacity, free }: Pick<HostRecord, "capacity" | "free">): string[] {
  const of = (taken: string | number, all: string | number) => `${taken}/${all}`;
  return [
    of(capacity.slots - free.slots, capacity.slots),
    of(rounded(capacity.cpus - free.cpus), rounded(capacity.cpus)),
    of(humanSize(capacity.memoryBytes - free.memoryBytes), humanSize(capacity.memoryBytes)),
  ];
}

/** Shares of a CPU are fractions, whose sums miss by a little. */
const rounded = (cpus: number): number => Math.round(cpus * 100) / 100;
