// The `mayfly` command as a function: arguments and a process' surroundings in, an exit code out.

import { type Command, GLOBAL_FLAGS } from "./command.ts";
import { artifacts } from "./commands/artifacts.ts";
import { batch } from "./commands/batch.ts";
import { bench } from "./commands/bench.ts";
import { cancel } from "./commands/cancel.ts";
import { completion } from "./commands/completion.ts";
import { context } from "./commands/context.ts";
import { deadLetters } from "./commands/dead-letters.ts";
import { deliveries } from "./commands/deliveries.ts";
import { hosts } from "./commands/hosts.ts";
import { image } from "./commands/image.ts";
import { images } from "./commands/images.ts";
import { inspect } from "./commands/inspect.ts";
import { keys } from "./commands/keys.ts";
import { kill } from "./commands/kill.ts";
import { load } from "./commands/load.ts";
import { logs } from "./commands/logs.ts";
import { map } from "./commands/map.ts";
import { ps } from "./commands/ps.ts";
import { pull } from "./commands/pull.ts";
import { rm } from "./commands/rm.ts";
import { rmi } from "./commands/rmi.ts";
import { run } from "./commands/run.ts";
import { save } from "./commands/save.ts";
import { schedule } from "./commands/schedule.ts";
import { secrets } from "./commands/secrets.ts";
import { stats } from "./commands/stats.ts";
import { tenants } from "./commands/tenants.ts";
import { upload } from "./commands/upload.ts";
import { uploads } from "./commands/uploads.ts";
import { wait } from "./commands/wait.ts";
import { complete } from "./completion.ts";
import { EXIT } from "./exit-codes.ts";
import { type FlagTable, parseFlags } from "./flags.ts";
import { programHelp } from "./help.ts";
import { type Io, printJson } from "./io.ts";
import { nearest } from "./nearest.ts";
import { report } from "./report.ts";
import { UsageError } from "./usage-error.ts";

export const COMMANDS: readonly Command[] = [
  run,
  ps,
  inspect,
  logs,
  artifacts,
  wait,
  kill,
  cancel,
  deliveries,
  batch,
  map,
  images,
  pull,
  rm,
  deadLetters,
  rmi,
  image,
  load,
  save,
  schedule,
  secrets,
  upload,
  uploads,
  keys,
  tenants,
  hosts,
  stats,
  context,
  completion,
  bench,
];

const PROGRAM_FLAGS = { ...GLOBAL_FLAGS, version: { says: "Show the version." } } as const satisfies FlagTable;

/** For the shells' scripts alone, and so not among the commands. */
const COMPLETE = "__complete";

/** Never throws. Whatever it has to say has been written by the time it resolves. */
export async function program(args: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    const json = args.includes("--json");
    return report(error, { io, json, usageExit: EXIT.usage, failureExit: EXIT.failed, helpOf: "mayfly" });
  }
}

async function dispatch(args: readonly string[], io: Io): Promise<number> {
  const { flags, operands } = parseFlags(args, PROGRAM_FLAGS, { stopAtOperand: true });
  const [name, ...rest] = operands;
  if (flags.version) return printVersion(io, flags.json);
  if (name === COMPLETE) return printCompletions(rest, io);
  if (name === "help" && rest[0] !== undefined && rest[0] !== "help")
    return findCommand(rest[0]).run(["--help"], flags, io);
  if (name === "help" || (name === undefined && flags.help)) return printHelp(io);
  if (name === undefined) throw new UsageError(`a COMMAND is needed: ${COMMANDS.map((each) => each.name).join(", ")}`);
  return findCommand(name).run(rest, flags, io);
}

function findCommand(name: string): Command {
  const found = COMMANDS.find((command) => command.name === name);
  if (found) return found;
  const near = nearest(name, [...COMMANDS.map((command) => command.name), "help"]);
  const advice = near === undefined ? "" : `; did you mean ${near}?`;
  throw new UsageError(`there is no command ${JSON.stringify(name)}${advice}`);
}

async function printVersion(io: Io, json: boolean): Promise<number> {
  await (json ? printJson(io, { version: io.version }) : io.stdout.write(`mayfly ${io.version}\n`));
  return EXIT.ok;
}

async function printCompletions([dashes, ...words]: readonly string[], io: Io): Promise<number> {
  if (dashes !== "--") throw new UsageError(`${COMPLETE} takes -- and the words up to the cursor`);
  for (const word of await complete(words, COMMANDS, io)) await io.stdout.write(`${word}\n`);
  return EXIT.ok;
}

async function printHelp(io: Io): Promise<number> {
  await io.stdout.write(programHelp(COMMANDS, PROGRAM_FLAGS));
  return EXIT.ok;
}
