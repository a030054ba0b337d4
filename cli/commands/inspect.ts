// mayfly inspect: all that the gateway tells of a run.

import { Run } from "../../core/run.ts";
import { defineCommand, FORMAT_FLAG } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { parseTemplate } from "../format.ts";
import { jsonText, printJson } from "../io.ts";

export const inspect = defineCommand({
  name: "inspect",
  synopsis: "ID...",
  says: "Shows all there is to know of runs, as JSON: indented, or with --json a line each.",
  flags: { format: FORMAT_FLAG },
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly inspect run_01k9xq2v7n3b8c5d6e7f8g9h0j", "mayfly inspect $id --format '{{json .receipt}}'"],
  execute: async ({ flags, operands, json, io, client }) => {
    const template = flags.format === undefined ? undefined : parseTemplate(flags.format, Run);
    return eachRun(operands, { io, json, helpOf: "mayfly inspect" }, async (id) => {
      const run = await client.getRun(id);
      if (template) await io.stdout.write(`${template(run)}\n`);
      else await (json ? printJson(io, run) : io.stdout.write(`${jsonText(run, 2)}\n`));
    });
  },
});
