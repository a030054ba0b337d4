// mayfly ps: a list of runs, newest first.

import { Run as RunSchema, RunState } from "../../core/run.ts";
import type { Client, ListOptions, Outcome, Run } from "../client.ts";
import { type Colour, type Paint, paintFor } from "../colour.ts";
import { defineCommand, FORMAT_FLAG } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { parseTemplate } from "../format.ts";
import { note, printJson } from "../io.ts";
import { readFilters, readMoment, stateOf } from "../run-filter.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";

/** What `-n` is without being given, what it may be at most, and how many runs one request asks for. */
const DEFAULT_ROWS = 100;
const MAX_ROWS = 10_000;
const PAGE = 100;

/** In this order a run that moves on while they are listed is seen twice rather than never. */
const UNFINISHED: readonly RunState[] = ["queued", "starting", "running"];

export const ps = defineCommand({
  name: "ps",
  synopsis: "",
  says: "Lists runs, newest first: those that are not finished, unless told otherwise.",
  flags: {
    all: { short: "a", says: "Finished ones too." },
    filter: {
      short: "f",
      value: "NAME=VALUE",
      many: true,
      says: "By state=STATE, label=NAME=VALUE, image=REFERENCE; in any state.",
    },
    since: {
      value: "TIME",
      says: "Accepted since that moment, or since so long ago, such as 90m.",
    },
    "all-tenants": { says: "Everybody's (operators)." },
    state: { value: "STATE", says: `Only those that are ${RunState.options.join(", ")}.` },
    format: FORMAT_FLAG,
    number: { short: "n", value: "NUMBER", says: `At most so many; ${DEFAULT_ROWS} otherwise.` },
  },
  operands: { min: 0, max: 0 },
  examples: [
    "mayfly ps",
    "mayfly ps -a -n 20",
    "mayfly ps --filter label=build=17 --since 2h",
    "mayfly ps --state running --format '{{.id}}'",
  ],
  execute: async ({ flags, json, io, client }) => {
    const rows = readNumber(flags.number);
    const { label, image, ...filter } = readFilters(flags.filter);
    const since = readMoment(flags.since, "--since", Date.now());
    const tenant = flags["all-tenants"] ? "*" : undefined;
    const template = flags.format === undefined ? undefined : parseTemplate(flags.format, RunSchema);
    const lists: Run[][] = [];
    for (const state of statesOf(flags, filter.state))
      lists.push(await listUpTo(client, { state, label, image, since, tenant }, rows + 1));
    const runs = newestFirst(lists.flat());
    const shown = runs.slice(0, rows);
    if (template) for (const run of shown) await io.stdout.write(`${template(run)}\n`);
    else if (json) for (const run of shown) await printJson(io, run);
    else await io.stdout.write(`${table(shown, Date.now(), paintFor(io)).join("\n")}\n`);
    if (!json && !template && runs.length > rows)
      await note(io, `there are more than these ${rows}; -n NUMBER shows more`);
    return EXIT.ok;
  },
});

interface PsFlags {
  readonly all: boolean;
  readonly state: string | undefined;
  readonly filter: readonly string[];
  readonly since: string | undefined;
}

/** Who looks for something special looks for it in whatever state. */
function statesOf(
  { all, state, filter, since }: PsFlags,
  filtered: RunState | undefined,
): readonly (RunState | undefined)[] {
  if (state !== undefined && filtered !== undefined)
    throw new UsageError("--state and --filter state= say the same thing");
  const wanted = stateOf(state, "--state") ?? filtered;
  if (wanted !== undefined) return [wanted];
  return all || filter.length > 0 || since !== undefined ? [undefined] : UNFINISHED;
}

function readNumber(text: string | undefined): number {
  if (text === undefined) return DEFAULT_ROWS;
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MAX_ROWS) return number;
  throw new UsageError(`--number ${JSON.stringify(text)} is not a whole number from 1 to ${MAX_ROWS}`);
}

async function listUpTo(client: Client, wanted: ListOptions, count: number): Promise<Run[]> {
  const runs: Run[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listRuns({ ...wanted, limit: Math.min(PAGE, count - runs.length), cursor });
    runs.push(...page.runs);
    cursor = page.next;
  } while (cursor !== undefined && runs.length < count);
  return runs;
}

/** Ids sort by the moment they were made. Of a run that was seen twice the later sight counts. */
function newestFirst(runs: readonly Run[]): Run[] {
  const byId = new Map(runs.map((run) => [run.id, run]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
}

export function table(runs: readonly Run[], nowMs: number, paint: Paint = (text) => text): string[] {
  const ofMany = runs.some((run) => run.tenant !== undefined);
  const rows = runs.map((run) => [
    run.id,
    ...(ofMany ? [run.tenant ?? "-"] : []),
    run.image,
    run.cancelRequested && run.state !== "finished" ? `${run.state}, cancelling` : run.state,
    run.outcome ? outcomeText(run.outcome) : "-",
    formatAge(nowMs - Date.parse(run.createdAt)),
    run.startedAt ? formatAge(timeOf(run.finishedAt, nowMs) - Date.parse(run.startedAt)) : "-",
    String(run.attempt),
  ]);
  const head = ["ID", ...(ofMany ? ["TENANT"] : []), "IMAGE", "STATE", "OUTCOME", "AGE", "RAN", "ATTEMPT"];
  const coloured = [head.indexOf("STATE"), head.indexOf("OUTCOME")];
  return alignColumns([head, ...rows], (cell, column, row) => {
    const run = runs[row - 1];
    return run && coloured.includes(column) ? paint(cell, colourOf(run)) : cell;
  });
}

function colourOf({ state, outcome }: Run): Colour | undefined {
  if (outcome) return outcome.kind === "exited" && outcome.exitCode === 0 ? "dim" : "red";
  return state === "running" ? "green" : "yellow";
}

function timeOf(rfc3339: string | undefined, otherwiseMs: number): number {
  return rfc3339 === undefined ? otherwiseMs : Date.parse(rfc3339);
}

function outcomeText(outcome: Outcome): string {
  const facts: Record<Outcome["kind"], string> = {
    exited: outcome.kind === "exited" ? ` ${outcome.exitCode}` : "",
    signaled: outcome.kind === "signaled" ? ` ${outcome.signal}` : "",
    timed_out: outcome.kind === "timed_out" ? ` (${outcome.clock})` : "",
    oom_killed: "",
    cancelled: "",
    lost: "",
    rejected: outcome.kind === "rejected" ? ` ${outcome.code}` : "",
  };
  return outcome.kind + facts[outcome.kind];
}
