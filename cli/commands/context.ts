// mayfly context: several clusters by name.

import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { chooseAction } from "../action.ts";
import { defineCommand, type Input } from "../command.ts";
import { CONTEXT_NAME, type Context, contextOf, readContexts, writeContexts } from "../contexts.ts";
import { EXIT } from "../exit-codes.ts";
import { GATEWAY_URL_FORM, isGatewayUrl } from "../gateway-url.ts";
import { printJson } from "../io.ts";
import { checkKey } from "../settings.ts";
import { alignColumns } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const FLAGS = {
  "key-file": { value: "FILE", says: "Of create: the file that holds the API key; read at each use." },
  "key-stdin": { says: "Of create: reads the API key from stdin, and keeps it." },
} as const;

type ContextInput = Input<typeof FLAGS>;

interface Action {
  readonly takesName: boolean;
  readonly execute: (name: string, input: ContextInput) => Promise<void> | void;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  ls: { takesName: false, execute: (_, input) => list(input) },
  use: { takesName: true, execute: (name, { io }) => use(name, io.env) },
  create: { takesName: true, execute: create },
  rm: { takesName: true, execute: (name, { io }) => remove(name, io.env) },
};

export const context = defineCommand({
  name: "context",
  synopsis: "ACTION [CONTEXT]",
  says: "Names clusters: where each is, and with which key.",
  notes: [
    [
      "ls              lists them; a star marks the one in use",
      "use CONTEXT     makes it the one that commands without --url or --context use",
      "create CONTEXT  makes it, or makes it anew, with the --url and the key that are given;",
      "                the first one is in use at once",
      "rm CONTEXT      forgets it",
    ].join("\n"),
  ],
  actions: Object.keys(ACTIONS),
  flags: FLAGS,
  operands: { min: 1, max: 2 },
  examples: [
    "mayfly context create prod --url https://mayfly.example --key-file ~/.mayfly-key",
    "mayfly context use prod",
    "mayfly --context prod ps",
  ],
  execute: async (input) => {
    const [word = "", name] = input.operands;
    const action = chooseAction(ACTIONS, word);
    if (action.takesName && name === undefined) throw new UsageError(`CONTEXT is missing; it takes ${word} CONTEXT`);
    if (!action.takesName && name !== undefined)
      throw new UsageError(`${JSON.stringify(name)} is one argument too many`);
    if (word !== "create" && (input.flags["key-file"] !== undefined || input.flags["key-stdin"]))
      throw new UsageError(`${word} has no use for a key`);
    await action.execute(name ?? "", input);
    return EXIT.ok;
  },
});

async function list({ io, json }: ContextInput): Promise<void> {
  const { current, contexts } = readContexts(io.env);
  const told = Object.entries(contexts)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { url, apiKey, apiKeyFile }]) => ({
      name,
      current: name === current,
      url,
      key: apiKey === undefined ? (apiKeyFile ?? "none") : "kept",
    }));
  if (json) for (const each of told) await printJson(io, each);
  else {
    const rows = told.map((each) => [each.current ? "*" : "", each.name, each.url, each.key]);
    await io.stdout.write(`${alignColumns([["", "CONTEXT", "URL", "KEY"], ...rows]).join("\n")}\n`);
  }
}

function use(name: string, env: ContextInput["io"]["env"]): void {
  const known = readContexts(env);
  contextOf(known, name);
  writeContexts(env, { ...known, current: name });
}

async function create(name: string, input: ContextInput): Promise<void> {
  const { io } = input;
  if (!CONTEXT_NAME.test(name))
    throw new UsageError(`${JSON.stringify(name)} is no name: letters, digits, "-", "_" and ".", at most 63`);
  if (input.url === undefined) throw new UsageError("--url is missing: where the cluster's gateway is");
  if (!isGatewayUrl(input.url)) throw new UsageError(`--url ${JSON.stringify(input.url)} is not ${GATEWAY_URL_FORM}`);
  const made: Context = { url: input.url, ...(await keyFrom(input)) };
  const { current = name, contexts } = readContexts(io.env);
  writeContexts(io.env, { current, contexts: { ...contexts, [name]: made } });
}

async function keyFrom({ flags, io }: ContextInput): Promise<Partial<Context>> {
  const file = flags["key-file"];
  if (!flags["key-stdin"]) return file === undefined ? {} : { apiKeyFile: resolve(file) };
  if (file !== undefined) throw new UsageError("--key-file and --key-stdin exclude each other");
  const apiKey = checkKey((await text(io.stdin())).replace(/\r?\n$/, ""));
  return apiKey === undefined ? {} : { apiKey };
}

function remove(name: string, env: ContextInput["io"]["env"]): void {
  const { current, contexts } = readContexts(env);
  contextOf({ contexts }, name);
  const { [name]: _, ...others } = contexts;
  writeContexts(env, { ...(current === name || current === undefined ? {} : { current }), contexts: others });
}
