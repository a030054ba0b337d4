// mayfly rm: forgets finished runs.

import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { printJson } from "../io.ts";

export const rm = defineCommand({
  name: "rm",
  synopsis: "ID...",
  says: "Forgets finished runs and their output, and prints the id of each.",
  notes: ["A run that goes on is told as an error: mayfly cancel ends it."],
  flags: {},
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly rm run_01k9xq2v7n3b8c5d6e7f8g9h0j"],
  execute: ({ operands, json, io, client }) =>
    eachRun(operands, { io, json, helpOf: "mayfly rm" }, async (id) => {
      await client.removeRun(id);
      await (json ? printJson(io, { id }) : io.stdout.write(`${id}\n`));
    }),
});
