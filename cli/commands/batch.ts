// mayfly batch: many runs at once, from a file of lines. The first word says what.

import type { Batch } from "../../core/batch.ts";
import { chooseAction } from "../action.ts";
import { progressLine } from "../batch-progress.ts";
import { watchBatch } from "../batch-watch.ts";
import { defineCommand, type Input } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { failureQuery } from "../halt.ts";
import { note, printJson } from "../io.ts";
import { piecesOf } from "../line-pieces.ts";
import { alignColumns, formatAge } from "../table.ts";
import { UsageError } from "../usage-error.ts";
import { wholeNumber } from "../whole-number.ts";

const FLAGS = {
  all: { short: "a", says: "Of ps: those that are over, too." },
  concurrency: { short: "j", value: "NUMBER", says: "Of run: so many at once." },
  follow: { short: "f", says: "Of results: until the batch is over." },
  from: { value: "NUMBER", says: "Of results: after so many." },
  "keep-order": { short: "k", says: "Of results: in the order of the input." },
  name: { value: "NAME", says: "Of run: for people." },
  "on-failure": { value: "continue|stop|NUMBER", says: "Of run: stop at the first, or past NUMBER of them." },
  output: { value: "BYTES", says: "Of results: of each stream in a line; 65536 otherwise." },
  wait: { short: "w", says: "Of run: until it is over; exits 1 if anything failed." },
  webhook: { value: "URL", says: "Of run: where to tell that it is over." },
} as const;

type BatchInput = Input<typeof FLAGS>;

interface Action {
  readonly takes: string;
  readonly execute: (operand: string, input: BatchInput) => Promise<number>;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  run: { takes: "FILE", execute: run },
  ps: { takes: "", execute: (_, input) => list(input) },
  inspect: { takes: "BATCH", execute: async (id, input) => show(await input.client.batches.inspect(id), input) },
  results: { takes: "BATCH", execute: results },
  pause: { takes: "BATCH", execute: async (id, input) => say(await input.client.batches.pause(id), input) },
  resume: { takes: "BATCH", execute: async (id, input) => say(await input.client.batches.resume(id), input) },
  cancel: { takes: "BATCH", execute: async (id, input) => say(await input.client.batches.cancel(id), input) },
};

export const batch = defineCommand({
  name: "batch",
  synopsis: "ACTION [FILE or BATCH]",
  actions: Object.keys(ACTIONS),
  says: "Runs many commands at once, from a file with a request a line.",
  notes: [
    [
      "run FILE|-            each line a request as POST /v1/runs takes it, with a `key` if you like;",
      '                      the first may be {"batch": {...}}: with a template in it, the rest are inputs',
      "ps, inspect BATCH     what there is, and how far it is",
      "results BATCH         what came of each item, a JSON document a line",
      "pause, resume, cancel BATCH",
    ].join("\n"),
  ],
  flags: FLAGS,
  operands: { min: 1, max: 2 },
  examples: [
    "mayfly batch run -j 20 --on-failure 10 --wait runs.jsonl",
    "generate | mayfly batch run -",
    "mayfly batch results -k bat_01k3zq5w7h8m2n4p6r8t0v | jq -r .stdout.data",
  ],
  execute: async (input) => {
    const [name = "", operand = ""] = input.operands;
    const action = chooseAction(ACTIONS, name);
    if (action.takes !== "" && operand === "")
      throw new UsageError(`${action.takes} is missing; it takes ${name} ${action.takes}`);
    if (action.takes === "" && operand !== "")
      throw new UsageError(`${JSON.stringify(operand)} is one argument too many`);
    return action.execute(operand, input);
  },
});

async function run(file: string, input: BatchInput): Promise<number> {
  const { flags, io, client, json } = input;
  const query = {
    name: flags.name,
    concurrency: wholeNumber("--concurrency", flags.concurrency),
    webhook: flags.webhook,
    ...failureQuery(flags["on-failure"]),
  };
  const source = file === "-" ? io.stdin() : io.openFile(file);
  const tell = (line: number, message: string) =>
    void note(io, `${file}:${line}: ${message.replace(/^line \d+: /, "")}`);
  const sent = await client.batches.run(piecesOf(source), {
    query,
    onMalformed: tell,
    onBatch: (id) => void (flags.wait && !json ? note(io, `batch ${id}`) : undefined),
  });
  if (!flags.wait) return say(sent, input);
  const over = await watchBatch(sent.id, { client, io });
  await show(over, input);
  return over.counts.succeeded === over.counts.total ? EXIT.ok : EXIT.failed;
}

async function list({ client, io, json, flags }: BatchInput): Promise<number> {
  const rows: string[][] = [];
  for await (const each of client.batches.list()) {
    if (!flags.all && (each.state === "finished" || each.state === "cancelled")) continue;
    if (json) await printJson(io, each);
    else rows.push(rowOf(each, Date.now()));
  }
  const head = ["ID", "NAME", "STATE", "ITEMS", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "LEFT", "AGE"];
  if (!json) await io.stdout.write(`${alignColumns([head, ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ id, name = "-", state, counts, estimatedSeconds, createdAt }: Batch, nowMs: number): string[] {
  const { total, running, succeeded, failed, cancelled } = counts;
  const left = estimatedSeconds === undefined ? "-" : formatAge(estimatedSeconds * 1000);
  const numbers = [total, running, succeeded, failed, cancelled].map(String);
  return [id, name, state, ...numbers, left, formatAge(nowMs - Date.parse(createdAt))];
}

async function results(id: string, { client, io, flags }: BatchInput): Promise<number> {
  const found = client.batches.results(id, {
    order: flags["keep-order"] ? "input" : "completion",
    follow: flags.follow,
    from: wholeNumber("--from", flags.from),
    output: wholeNumber("--output", flags.output),
  });
  for await (const result of found) await printJson(io, result);
  return EXIT.ok;
}

async function show(found: Batch, { io, json }: BatchInput): Promise<number> {
  await (json ? printJson(io, found) : io.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`));
  return EXIT.ok;
}

async function say(found: Batch, input: BatchInput): Promise<number> {
  if (input.json) return show(found, input);
  await input.io.stdout.write(`${found.id}\n`);
  if (input.operands[0] !== "run") await note(input.io, progressLine(found));
  return EXIT.ok;
}
