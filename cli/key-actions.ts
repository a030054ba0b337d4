// What `mayfly keys` does, an action each.

import { type ApiKey, DEFAULT_OVERLAP, KEY_ID_PATTERN, type MadeKey, SCOPES, type Scope } from "../core/api-key.ts";
import type { Input } from "./command.ts";
import { eachRun } from "./each-run.ts";
import { EXIT } from "./exit-codes.ts";
import { note, printJson } from "./io.ts";
import { alignColumns, formatAge } from "./table.ts";
import { UsageError } from "./usage-error.ts";

export const KEY_FLAGS = {
  tenant: { value: "TENANT", says: "Of create: whose key it is to be. Of ls: only this one's." },
  scope: { value: "SCOPE", many: true, says: "Of create: submit, read, cancel or admin. Repeatable." },
  expires: { value: "DURATION", says: "Of create: how long the key is good for; until revoked without it." },
  overlap: { value: "DURATION", says: "Of rotate: how long the key from before stays good; 24h without it." },
} as const;

export type KeysInput = Input<typeof KEY_FLAGS>;

export interface KeyAction {
  readonly min: number;
  readonly max: number;
  /** What it takes, for the message that it is missing. */
  readonly takes: string;
  /** Flags that it has a use for. */
  readonly flags: readonly string[];
  readonly execute: (operands: readonly string[], input: KeysInput) => Promise<number>;
}

export const KEY_ACTIONS: Readonly<Record<string, KeyAction>> = {
  create: { min: 1, max: 1, takes: "NAME", flags: ["tenant", "scope", "expires"], execute: create },
  ls: { min: 0, max: 0, takes: "", flags: ["tenant"], execute: list },
  rotate: { min: 1, max: 1, takes: "ID", flags: ["overlap"], execute: rotate },
  revoke: { min: 1, max: Number.POSITIVE_INFINITY, takes: "ID...", flags: [], execute: revoke },
};

async function create([name = ""]: readonly string[], input: KeysInput): Promise<number> {
  const { tenant, scope, expires } = input.flags;
  if (tenant === undefined) throw new UsageError("--tenant is needed: whose key it is to be");
  if (scope.length === 0) throw new UsageError(`--scope is needed: ${SCOPES.join(", ")}`);
  const scopes = scope.flatMap((words) => words.split(",")).map(toScope);
  const expiresIn = expires === undefined ? {} : { expiresIn: expires };
  return showOnce(await input.client.keys.create({ tenant, name, scopes, ...expiresIn }), input);
}

async function rotate([id = ""]: readonly string[], input: KeysInput): Promise<number> {
  const { overlap = DEFAULT_OVERLAP } = input.flags;
  return showOnce(await input.client.keys.rotate(checkId(id), { overlap }), input);
}

/** The key alone is on stdout, for a file or a pipe; the rest is for whoever looks on. */
async function showOnce(made: MadeKey, { io, json }: KeysInput): Promise<number> {
  if (json) {
    await printJson(io, made);
    return EXIT.ok;
  }
  await io.stdout.write(`${made.key}\n`);
  const before = made.previousUntil === undefined ? "" : `; the key from before is good until ${made.previousUntil}`;
  await note(io, `${made.id} of ${made.tenant}, shown this once${before}`);
  return EXIT.ok;
}

async function list(_: readonly string[], { flags: { tenant }, client, io, json }: KeysInput): Promise<number> {
  const rows: string[][] = [];
  const now = Date.now();
  for await (const key of client.keys.list({ tenant })) {
    if (json) await printJson(io, key);
    else rows.push(rowOf(key, now));
  }
  const head = ["ID", "TENANT", "NAME", "SCOPES", "CREATED", "USED", "EXPIRES"];
  if (!json) await io.stdout.write(`${alignColumns([head, ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ id, tenant, name, scopes, createdAt, lastUsedAt, expiresAt }: ApiKey, nowMs: number): string[] {
  const age = (moment: string | undefined) => (moment === undefined ? "-" : formatAge(nowMs - Date.parse(moment)));
  const leftMs = expiresAt === undefined ? undefined : Date.parse(expiresAt) - nowMs;
  const expires = leftMs === undefined ? "-" : leftMs <= 0 ? "over" : formatAge(leftMs);
  return [id, tenant, name, scopes.join(","), age(createdAt), age(lastUsedAt), expires];
}

async function revoke(ids: readonly string[], { client, io, json }: KeysInput): Promise<number> {
  for (const id of ids) checkId(id);
  return eachRun(ids, { io, json, helpOf: "mayfly keys" }, async (id) => {
    await client.keys.revoke(id);
    await (json ? printJson(io, { id }) : io.stdout.write(`${id}\n`));
  });
}

/** A key that is given by mistake is neither sent nor shown. */
function checkId(id: string): string {
  if (KEY_ID_PATTERN.test(id)) return id;
  throw new UsageError("ID is not a key's id, such as key_3v8k2m9q4t7x; it is never the key itself");
}

function toScope(word: string): Scope {
  const scope = SCOPES.find((known) => known === word);
  if (scope === undefined) throw new UsageError(`--scope ${JSON.stringify(word)} is not one of ${SCOPES.join(", ")}`);
  return scope;
}
