// mayfly secrets: what runs may be given by --secret-env. The first word says what.

import { SECRET_BOUNDS, type Secret } from "../../core/secret.ts";
import { defineCommand, type Input } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const SECRET_FLAGS = {
  tenant: { value: "TENANT", says: "Whose runs may have it; all tenants' without it. Of ls: only its own." },
} as const;

type SecretsInput = Input<typeof SECRET_FLAGS>;

const ACTIONS: Readonly<Record<string, (name: string, input: SecretsInput) => Promise<number>>> = {
  set,
  ls: list,
  rm: remove,
};

export const secrets = defineCommand({
  name: "secrets",
  synopsis: "ACTION [NAME]",
  says: "Sets, lists and removes secrets for the environment of runs (operators).",
  notes: [
    [
      "set NAME   its value is what comes by stdin, less one line end",
      "ls         their names; no value is ever shown",
      "rm NAME    runs that wait for it are rejected when they start",
    ].join("\n"),
  ],
  flags: SECRET_FLAGS,
  operands: { min: 1, max: 2 },
  examples: [
    "mayfly secrets set --tenant acme api-token < token",
    "mayfly run --secret-env TOKEN=api-token busybox env",
  ],
  execute: async (input) => {
    const [name = "", secret = ""] = input.operands;
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (!action) throw new UsageError(`there is no such action: ${Object.keys(ACTIONS).join(", ")}`);
    if (name !== "ls" && secret === "") throw new UsageError(`NAME is missing; it takes ${name} NAME`);
    if (name === "ls" && secret !== "") throw new UsageError(`${JSON.stringify(secret)} is one argument too many`);
    return action(secret, input);
  },
});

async function set(name: string, input: SecretsInput): Promise<number> {
  const { client, io, json, flags } = input;
  const made = await client.secrets.set(name, await readValue(input), flags);
  await (json ? printJson(io, made) : io.stdout.write(`${name}\n`));
  return EXIT.ok;
}

/** No more is read than a secret may have: it is held in memory. */
async function readValue({ io }: SecretsInput): Promise<string> {
  if (io.terminal.isInput)
    throw new UsageError("the value comes by stdin, which is a terminal: it would be shown there");
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of io.stdin()) {
    length += piece.length;
    if (length > SECRET_BOUNDS.valueBytes + 2)
      throw new UsageError(`stdin has more than ${SECRET_BOUNDS.valueBytes} bytes`);
    pieces.push(piece);
  }
  const value = new TextDecoder("utf-8").decode(Buffer.concat(pieces)).replace(/\r?\n$/, "");
  if (value === "") throw new UsageError("stdin is empty, and a secret is not");
  return value;
}

async function list(_: string, { client, io, json, flags }: SecretsInput): Promise<number> {
  const rows: string[][] = [];
  for await (const secret of client.secrets.list(flags)) {
    if (json) await printJson(io, secret);
    else rows.push(rowOf(secret, Date.now()));
  }
  if (!json) await io.stdout.write(`${alignColumns([["NAME", "TENANT", "CHANGED"], ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ name, tenant, changedAt }: Secret, nowMs: number): string[] {
  return [name, tenant ?? "(all)", formatAge(nowMs - Date.parse(changedAt))];
}

async function remove(name: string, { client, io, json, flags }: SecretsInput): Promise<number> {
  await client.secrets.remove(name, flags);
  await (json ? printJson(io, { name }) : io.stdout.write(`${name}\n`));
  return EXIT.ok;
}
