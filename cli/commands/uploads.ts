// mayfly uploads: what was sent for runs to come, listed and removed. The first word says what.

import type { Upload } from "../../core/uploads.ts";
import { chooseAction } from "../action.ts";
import { defineCommand, type Input } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { EXIT } from "../exit-codes.ts";
import { humanSize } from "../human-size.ts";
import { printJson } from "../io.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";

type UploadsInput = Input<Record<string, never>>;

const ACTIONS: Readonly<Record<string, (input: UploadsInput) => Promise<number>>> = { ls: list, rm: remove };

export const uploads = defineCommand({
  name: "uploads",
  synopsis: "ACTION [UPLOAD...]",
  says: "Lists and removes uploads.",
  notes: [["ls            newest first", "rm UPLOAD...  runs that have named one keep it until they end"].join("\n")],
  actions: Object.keys(ACTIONS),
  flags: {},
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly uploads ls", "mayfly uploads rm upl_01k3q7v2m8r4t6w9x1z3b5c7d9"],
  execute: (input) => chooseAction(ACTIONS, input.operands[0] ?? "")(input),
});

async function list({ operands, client, io, json }: UploadsInput): Promise<number> {
  if (operands.length > 1) throw new UsageError(`${JSON.stringify(operands[1])} is one argument too many`);
  const rows: string[][] = [];
  for await (const upload of client.uploads.list()) {
    if (json) await printJson(io, upload);
    else rows.push(rowOf(upload, Date.now()));
  }
  if (!json)
    await io.stdout.write(`${alignColumns([["UPLOAD", "FILES", "SIZE", "CREATED", "LEFT"], ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ id, files, bytes, createdAt, expiresAt }: Upload, nowMs: number): string[] {
  const age = (ms: number) => formatAge(Math.max(0, ms));
  return [id, String(files), humanSize(bytes), age(nowMs - Date.parse(createdAt)), age(Date.parse(expiresAt) - nowMs)];
}

async function remove({ operands, client, io, json }: UploadsInput): Promise<number> {
  const ids = operands.slice(1);
  if (ids.length === 0) throw new UsageError("UPLOAD is missing; it takes rm UPLOAD...");
  return eachRun(ids, { io, json, helpOf: "mayfly uploads" }, async (id) => {
    await client.uploads.remove(id);
    await (json ? printJson(io, { id }) : io.stdout.write(`${id}\n`));
  });
}
