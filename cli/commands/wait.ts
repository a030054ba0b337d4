// mayfly wait: until runs have finished.

import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { conclude, EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";

export const wait = defineCommand({
  name: "wait",
  synopsis: "ID...",
  says: "Waits for runs to finish, and prints the exit code of each.",
  flags: {},
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  notes: [
    "The code printed is what 'mayfly run' would have exited with. This command's own is 0\nhowever the runs ended.",
  ],
  examples: ["id=$(mayfly run -d busybox sleep 5); mayfly wait $id", "mayfly wait --json $id | jq .outcome"],
  execute: ({ operands, json, io, client }) =>
    eachRun(operands, { io, json, helpOf: "mayfly wait" }, async (id) => {
      const run = await client.waitRun(id);
      const exitCode = run.outcome === undefined ? EXIT.runFailed : conclude(run.outcome).exitCode;
      await (json ? printJson(io, run) : io.stdout.write(`${exitCode}\n`));
    }),
});
