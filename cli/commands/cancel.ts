// mayfly cancel: asks for the end of runs.

import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { printJson } from "../io.ts";

export const cancel = defineCommand({
  name: "cancel",
  synopsis: "ID...",
  says: "Cancels runs, and prints the id of each.",
  notes: ["A program gets SIGTERM and, after its run's grace, SIGKILL. A finished run stays as it is."],
  flags: { force: { short: "f", says: "SIGKILL at once, without SIGTERM and a grace." } },
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly cancel run_01k9xq2v7n3b8c5d6e7f8g9h0j", "mayfly ps --json | jq -r .id | xargs mayfly cancel"],
  execute: ({ flags: { force }, operands, json, io, client }) =>
    eachRun(operands, { io, json, helpOf: "mayfly cancel" }, async (id) => {
      const run = await client.cancelRun(id, { force });
      await (json ? printJson(io, run) : io.stdout.write(`${run.id}\n`));
    }),
});
