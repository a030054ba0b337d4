// What may stand at the cursor: what `mayfly __complete` prints, a word a line, for the shells' scripts (completion-scripts.ts).

import { SIGNALS } from "../core/control.ts";
import { RETRIED } from "../core/retry.ts";
import { type Run, RunState } from "../core/run.ts";
import { type Client, createClient } from "./client.ts";
import { GLOBAL_FLAGS } from "./command.ts";
import { readContexts } from "./contexts.ts";
import type { CommandFace } from "./help.ts";
import { parted } from "./image-client.ts";
import type { Io } from "./io.ts";
import { type Place, placeOf } from "./place.ts";
import { readSettings } from "./settings.ts";

/** Whoever has pressed a key waits no longer for a gateway. */
const ASK_MS = 1_500;
const RUNS = 100;

/** Of these commands only runs that have not ended are meant. */
const OF_UNFINISHED = new Set(["cancel", "kill", "wait"]);

/** A shell puts a word on its line as it is, so that nothing in it may mean anything to the shell; names come from others. */
const HARMLESS = /^[A-Za-z0-9._/:@=+-]+$/;

/** In order, each once. What the gateway does not tell in time is left out; nothing is thrown. */
export async function complete(words: readonly string[], commands: readonly CommandFace[], io: Io): Promise<string[]> {
  const place = placeOf(words, commands, GLOBAL_FLAGS);
  const found = await candidates(place, commands, io).catch(() => []);
  const before = place.awaiting?.before ?? "";
  const fitting = found
    .map((word) => before + word)
    .filter((word) => word.startsWith(place.partial) && HARMLESS.test(word));
  return [...new Set(fitting)].filter((word) => !place.operands.includes(word));
}

async function candidates(place: Place, commands: readonly CommandFace[], io: Io): Promise<readonly string[]> {
  const { command, operands, partial, awaiting, isPastFlags } = place;
  if (awaiting) return valuesOf(awaiting.flag.value ?? "", place, io);
  if (partial.startsWith("-") && !isPastFlags)
    return Object.keys({ ...command?.flags, ...GLOBAL_FLAGS }).map((name) => `--${name}`);
  if (!command) return [...commands.map(({ name }) => name), "help"];
  if (command.actions && operands.length === 0) return command.actions;
  // What is behind the operand that ends the flags is the program's.
  if (command.stopAtOperand && operands.length > 0) return [];
  return valuesOf(command.synopsis, place, io);
}

/** By what it is called in the help: a flag's value, or a command's operands. */
async function valuesOf(named: string, place: Place, io: Io): Promise<readonly string[]> {
  if (named.includes("|")) return named.split("|");
  if (named.includes("STATE")) return RunState.options;
  if (named.includes("OUTCOME")) return RETRIED;
  if (named.includes("SIGNAL")) return SIGNALS;
  if (named.includes("CONTEXT")) return Object.keys(readContexts(io.env).contexts);
  const signal = AbortSignal.timeout(ASK_MS);
  if (/\bUPLOAD\b/.test(named)) return uploads(clientFor(place, io), signal);
  if (named.includes("BATCH")) return batches(clientFor(place, io), signal);
  if (/\bID\b/.test(named)) return runs(place, clientFor(place, io), signal);
  if (named.includes("HOST")) return (await clientFor(place, io).hosts.list({ signal })).map(({ id }) => id);
  if (/\b(IMAGE|REFERENCE)\b/.test(named)) return references(clientFor(place, io), signal);
  return [];
}

function clientFor({ given: { url, context } }: Place, io: Io): Client {
  return createClient({ ...readSettings(io.env, { url, context }), fetch: io.fetch, retries: 0 });
}

async function batches(client: Client, signal: AbortSignal): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of client.batches.list({ signal })) if (ids.push(id) === RUNS) break;
  return ids;
}

async function runs({ command }: Place, client: Client, signal: AbortSignal): Promise<string[]> {
  const page = await client.listRuns({ limit: RUNS, signal });
  const isMeant = ({ state }: Run) => state !== "finished" || !OF_UNFINISHED.has(command?.name ?? "");
  return page.runs.filter(isMeant).map(({ id }) => id);
}

async function uploads(client: Client, signal: AbortSignal): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of client.uploads.list({ signal })) ids.push(id);
  return ids;
}

async function references(client: Client, signal: AbortSignal): Promise<string[]> {
  const { done } = parted((await client.images.list({ signal })).hosts);
  return done.flatMap(({ images }) => images.flatMap((image) => image.references)).toSorted();
}
