// mayfly kill: sends a signal to the programs of runs.

import { constants } from "node:os";
import { type RunSignal, SIGNALS } from "../../core/control.ts";
import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { printJson } from "../io.ts";
import { UsageError } from "../usage-error.ts";

export const kill = defineCommand({
  name: "kill",
  synopsis: "ID...",
  says: "Sends a signal to the programs of runs, SIGKILL unless told otherwise, and prints the id of each.",
  notes: [
    "SIGKILL goes to all processes of a run, any other signal to its program alone. A run that is\nwaiting or has finished is told as an error; 'mayfly cancel' ends a run whatever its state.",
  ],
  flags: { signal: { short: "s", value: "SIGNAL", says: `One of ${SIGNALS.join(", ")}.` } },
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly kill run_01k9xq2v7n3b8c5d6e7f8g9h0j", "mayfly kill -s INT $id"],
  execute: async ({ flags, operands, json, io, client }) => {
    const signal = parseSignal(flags.signal ?? "SIGKILL");
    return eachRun(operands, { io, json, helpOf: "mayfly kill" }, async (id) => {
      await client.signalRun(id, signal);
      await (json ? printJson(io, { id, signal }) : io.stdout.write(`${id}\n`));
    });
  },
});

/** `SIGINT`, `INT`, `int` or `2`. */
export function parseSignal(text: string): RunSignal {
  const name = text.toUpperCase();
  const found = SIGNALS.find(
    (signal) => signal === name || signal === `SIG${name}` || String(constants.signals[signal]) === text,
  );
  if (found) return found;
  throw new UsageError(`--signal ${JSON.stringify(text)} is not one of ${SIGNALS.join(", ")}`);
}
