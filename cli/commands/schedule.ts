// mayfly schedule: runs that are made again and again. The first word says what.

import type { Schedule } from "../../core/schedule.ts";
import { defineCommand, type Input } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { nearest } from "../nearest.ts";
import { readBrought } from "../run-files.ts";
import { ABSENT_RUN_FLAGS, RUN_FLAGS } from "../run-flags.ts";
import { buildRequest } from "../run-request.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";

// Nobody is there to type, to look on or to be waited for.
const { detach: _detach, interactive: _interactive, tty: _tty, rm: _rm, ...UNWATCHED } = RUN_FLAGS;
// When it starts is what the schedule says, and an upload does not last as long as a schedule.
const { delay: _delay, "not-before": _moment, upload: _upload, "upload-id": _id, ...RUN } = UNWATCHED;

const SCHEDULE_FLAGS = {
  cron: { value: "FIELDS", says: "Of create: minute, hour, day of month, month, day of week." },
  timezone: { value: "ZONE", says: "Of create: where the fields count; UTC without it." },
  ...RUN,
} as const;

type ScheduleInput = Input<typeof SCHEDULE_FLAGS>;

interface Action {
  readonly takes: string;
  readonly max: number;
  readonly execute: (name: string, input: ScheduleInput) => Promise<number>;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  create: { takes: "NAME IMAGE [-- COMMAND...]", max: Number.POSITIVE_INFINITY, execute: create },
  ls: { takes: "", max: 1, execute: list },
  inspect: {
    takes: "NAME",
    max: 2,
    execute: async (name, input) => show(await input.client.schedules.inspect(name), input),
  },
  pause: {
    takes: "NAME",
    max: 2,
    execute: async (name, input) => say(await input.client.schedules.pause(name), input),
  },
  resume: {
    takes: "NAME",
    max: 2,
    execute: async (name, input) => say(await input.client.schedules.resume(name), input),
  },
  rm: { takes: "NAME", max: 2, execute: remove },
};

export const schedule = defineCommand({
  name: "schedule",
  synopsis: "ACTION [NAME [IMAGE [-- COMMAND...]]]",
  says: "Makes, lists, pauses, resumes and removes schedules of runs.",
  notes: [
    [
      "create NAME IMAGE [-- COMMAND...]   a run at each tick of --cron, with the flags of run",
      "ls, inspect NAME                    what there is, when it is due, what came of its last tick",
      "pause NAME, resume NAME, rm NAME    runs that it has made are left alone",
    ].join("\n"),
  ],
  flags: SCHEDULE_FLAGS,
  absent: ABSENT_RUN_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: [
    "mayfly schedule create --cron '30 2 * * 1-5' --timezone Europe/Berlin nightly busybox -- date",
    "mayfly schedule pause nightly",
  ],
  execute: async (input) => {
    const [name = "", schedule = ""] = input.operands;
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (!action) throw unknownAction(name);
    if (action.takes !== "" && schedule === "")
      throw new UsageError(`NAME is missing; it takes ${name} ${action.takes}`);
    if (input.operands.length > action.max)
      throw new UsageError(`${JSON.stringify(input.operands[action.max])} is one argument too many`);
    const given = Object.entries(input.flags).find(
      ([flag, value]) => flag in SCHEDULE_FLAGS && value !== undefined && (!Array.isArray(value) || value.length > 0),
    );
    if (name !== "create" && given) throw new UsageError(`${name} has no use for --${given[0]}`);
    return action.execute(schedule, input);
  },
});

async function create(name: string, input: ScheduleInput): Promise<number> {
  const { cron, timezone, ...flags } = input.flags;
  if (cron === undefined) throw new UsageError("--cron is needed: when it is due");
  const never = { delay: undefined, "not-before": undefined, upload: undefined, "upload-id": undefined };
  const forRun = { ...flags, ...never, detach: true, interactive: false, tty: false, rm: false };
  const { fields } = await readBrought(forRun);
  const request = buildRequest(forRun, input.operands.slice(2), input.io, fields);
  const zone = timezone === undefined ? {} : { timezone };
  return say(await input.client.schedules.create({ name, cron, ...zone, request }), input);
}

async function list(_: string, { client, io, json }: ScheduleInput): Promise<number> {
  const rows: string[][] = [];
  for await (const schedule of client.schedules.list()) {
    if (json) await printJson(io, schedule);
    else rows.push(rowOf(schedule, Date.now()));
  }
  const head = ["NAME", "CRON", "ZONE", "NEXT", "LAST RUN", "LAST ERROR"];
  if (!json) await io.stdout.write(`${alignColumns([head, ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ name, cron, timezone, nextTick, lastRun, lastError }: Schedule, nowMs: number): string[] {
  const next = nextTick === undefined ? "paused" : `in ${formatAge(Date.parse(nextTick) - nowMs)}`;
  return [name, cron, timezone, next, lastRun ?? "-", lastError?.message ?? "-"];
}

async function show(schedule: Schedule, { io, json }: ScheduleInput): Promise<number> {
  await (json ? printJson(io, schedule) : io.stdout.write(`${JSON.stringify(schedule, undefined, 2)}\n`));
  return EXIT.ok;
}

async function say(schedule: Schedule, input: ScheduleInput): Promise<number> {
  if (input.json) return show(schedule, input);
  await input.io.stdout.write(`${schedule.name} ${schedule.nextTick ?? "paused"}\n`);
  return EXIT.ok;
}

async function remove(name: string, { client, io, json }: ScheduleInput): Promise<number> {
  await client.schedules.remove(name);
  await (json ? printJson(io, { name }) : io.stdout.write(`${name}\n`));
  return EXIT.ok;
}

function unknownAction(name: string): UsageError {
  const names = Object.keys(ACTIONS);
  const near = nearest(name, names);
  return new UsageError(
    near === undefined
      ? `there is no such action: ${names.join(", ")}`
      : `there is no action ${JSON.stringify(name)}; did you mean ${near}?`,
  );
}
