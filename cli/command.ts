// What every command has in common: flags of its own and global ones, help, a client, and errors told in one way.

import { type Client, createClient } from "./client.ts";
import { EXIT } from "./exit-codes.ts";
import { type Flags, type FlagTable, parseFlags } from "./flags.ts";
import { type CommandFace, commandHelp } from "./help.ts";
import type { Io } from "./io.ts";
import { report } from "./report.ts";
import { readSettings } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

export const GLOBAL_FLAGS = {
  url: { value: "URL", says: "The gateway; otherwise MAYFLY_URL, a context, http://127.0.0.1:8080." },
  context: { value: "CONTEXT", says: "The cluster, by its name; see mayfly context." },
  json: { says: "Print JSON, a document a line; errors too." },
  help: { short: "h", says: "Show help." },
} as const satisfies FlagTable;

/** Of commands that show things; see format.ts. */
export const FORMAT_FLAG = {
  value: "TEMPLATE",
  says: "A line for each, such as '{{.id}} {{json .}}'; goes before --json.",
} as const;

/** What was said before the command's name. */
export type GlobalFlags = Flags<typeof GLOBAL_FLAGS>;

export interface Input<T extends FlagTable> {
  readonly flags: Flags<T>;
  readonly operands: readonly string[];
  readonly json: boolean;
  readonly io: Io;
  /** `--url`, wherever it stood. */
  readonly url: string | undefined;
  /** Made when it is first asked for: a command that needs none works whatever the settings are. */
  readonly client: Client;
}

interface Definition<T extends FlagTable> extends CommandFace {
  readonly flags: T;
  /** How many operands it takes; checked before `execute`. */
  readonly operands: { readonly min: number; readonly max: number };
  readonly absent?: Readonly<Record<string, string>>;
  /** Exit codes of its own: 2 and 1 without them. */
  readonly usageExit?: number;
  readonly failureExit?: number;
  /** Resolves to the exit code. */
  readonly execute: (input: Input<T>) => Promise<number>;
}

export interface Command extends CommandFace {
  /** Never throws: a failure is told on stderr and is in the exit code. */
  readonly run: (args: readonly string[], global: GlobalFlags, io: Io) => Promise<number>;
}

export function defineCommand<const T extends FlagTable>(definition: Definition<T>): Command {
  const { usageExit = EXIT.usage, failureExit = EXIT.failed } = definition;
  return {
    ...definition,
    run: async (args, global, io) => {
      try {
        return await parseAndExecute(definition, { args, global, io });
      } catch (error) {
        // The arguments may be what is wrong, so they are looked at as words here.
        const json = global.json || args.includes("--json");
        return report(error, { io, json, usageExit, failureExit, helpOf: `mayfly ${definition.name}` });
      }
    },
  };
}

async function parseAndExecute<T extends FlagTable>(
  definition: Definition<T>,
  { args, global, io }: { args: readonly string[]; global: GlobalFlags; io: Io },
): Promise<number> {
  const { stopAtOperand = false, absent = {} } = definition;
  const { flags, operands } = parseFlags(args, { ...GLOBAL_FLAGS, ...definition.flags }, { stopAtOperand, absent });
  const own: GlobalFlags = flags;
  if (own.help || global.help) {
    await io.stdout.write(commandHelp(definition, GLOBAL_FLAGS));
    return EXIT.ok;
  }
  checkOperands(definition, operands);
  const url = own.url ?? global.url;
  const connect = () =>
    createClient({ ...readSettings(io.env, { url, context: own.context ?? global.context }), fetch: io.fetch });
  let client: Client | undefined;
  return definition.execute({
    ...{ flags, operands, json: own.json || global.json, io, url },
    get client() {
      client ??= connect();
      return client;
    },
  });
}

function checkOperands(
  { operands: { min, max }, synopsis }: { operands: { min: number; max: number }; synopsis: string },
  operands: readonly string[],
): void {
  if (operands.length < min)
    throw new UsageError(`${synopsis.split(" ")[0]?.replace("...", "")} is missing; it takes ${synopsis}`);
  if (operands.length > max) throw new UsageError(`${JSON.stringify(operands[max])} is one argument too many`);
}
