// mayfly dead-letters: runs that were to be tried again and have failed for good. The first word says what.

import type { Run } from "../client.ts";
import { defineCommand, type Input } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { EXIT } from "../exit-codes.ts";
import { note, printJson } from "../io.ts";
import { nearest } from "../nearest.ts";
import { UsageError } from "../usage-error.ts";
import { table } from "./ps.ts";

const FLAGS = { all: { says: "With retry: all of them, in place of IDs." } } as const;
const ACTIONS = ["ls", "retry", "rm"];

type LettersInput = Input<typeof FLAGS>;

export const deadLetters = defineCommand({
  name: "dead-letters",
  synopsis: "ACTION [ID...]",
  says: "Lists runs that had retries and have failed for good, and runs them again.",
  notes: [
    [
      "ls             those there are, newest first",
      "retry ID...    runs each again, as a new run with the same input, and prints the new id",
      "rm ID...       takes each off the list; the run itself is kept",
    ].join("\n"),
  ],
  flags: FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly dead-letters ls", "mayfly dead-letters retry --all"],
  execute: async (input) => {
    const [action = "", ...ids] = input.operands;
    if (!ACTIONS.includes(action)) throw unknownAction(action);
    const { all } = input.flags;
    if (all && action !== "retry") throw new UsageError(`${action} has no use for --all`);
    if (action === "ls" && ids[0] !== undefined)
      throw new UsageError(`${JSON.stringify(ids[0])} is one argument too many`);
    if (action === "ls") return list(input);
    if (all && ids.length > 0) throw new UsageError("--all stands in place of IDs");
    if (all) return retryAll(input);
    if (ids.length === 0) throw new UsageError(`ID is missing; it takes ${action} ID...`);
    return eachRun(ids, { ...input, helpOf: "mayfly dead-letters" }, (id) =>
      action === "retry" ? retry(id, input) : dismiss(id, input),
    );
  },
});

async function list({ client, io, json }: LettersInput): Promise<number> {
  const runs: Run[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.deadLetters.list({ cursor });
    if (json) for (const run of page.runs) await printJson(io, run);
    else runs.push(...page.runs);
    cursor = page.next;
  } while (cursor !== undefined);
  if (!json) await io.stdout.write(`${table(runs, Date.now()).join("\n")}\n`);
  return EXIT.ok;
}

async function retry(id: string, { client, io, json }: LettersInput): Promise<void> {
  const retried = await client.deadLetters.retry(id);
  await (json ? printJson(io, retried) : io.stdout.write(`${retried.run}\n`));
}

async function dismiss(id: string, { client, io, json }: LettersInput): Promise<void> {
  await client.deadLetters.dismiss(id);
  await (json ? printJson(io, { id }) : io.stdout.write(`${id}\n`));
}

async function retryAll({ client, io, json }: LettersInput): Promise<number> {
  let exitCode: number = EXIT.ok;
  let cursor: string | undefined;
  do {
    const { retried, failed, next } = await client.deadLetters.retryPage({ cursor });
    for (const each of retried) await (json ? printJson(io, each) : io.stdout.write(`${each.run}\n`));
    for (const { deadLetter, message } of failed) await note(io, `${deadLetter} stays: ${message}`);
    if (failed.length > 0) exitCode = EXIT.failed;
    cursor = next;
  } while (cursor !== undefined);
  return exitCode;
}

function unknownAction(name: string): UsageError {
  const near = nearest(name, ACTIONS);
  const advice = near === undefined ? `: ${ACTIONS.join(", ")}` : `; did you mean ${near}?`;
  return new UsageError(`there is no action ${JSON.stringify(name)}${advice}`);
}
