// mayfly logs: what a run has written, so far or until it ends.

import type { OutputEvent, Run, RunEvent, StreamName } from "../client.ts";
import { defineCommand, type Input } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { printRun, tellTruncation } from "../print-run.ts";

const FLAGS = {
  follow: { short: "f", says: "Go on until the run has finished." },
  stdout: { says: "Only stdout." },
  stderr: { says: "Only stderr." },
} as const;

export const logs = defineCommand({
  name: "logs",
  synopsis: "ID",
  says: "Prints the output of a run: its stdout on stdout, its stderr on stderr.",
  flags: FLAGS,
  operands: { min: 1, max: 1 },
  notes: ["Without -f all of stdout comes before all of stderr; with it they come as they came."],
  examples: ["mayfly logs run_01k9xq2v7n3b8c5d6e7f8g9h0j", "mayfly logs -f --stderr $id"],
  execute: async (input) => {
    const id = String(input.operands[0]);
    await (input.flags.follow ? follow(id, input) : printKept(id, input));
    return EXIT.ok;
  },
});

type LogsInput = Input<typeof FLAGS>;

async function follow(id: string, { flags, json, io, client }: LogsInput): Promise<void> {
  const streams = streamsOf(flags);
  const printEvent = (event: RunEvent) => printJson(io, isOutput(event) ? inBase64(event) : event);
  const isWanted = (event: RunEvent) => !isOutput(event) || streams.includes(event.type);
  const onEvent = async (event: RunEvent) => (isWanted(event) ? printEvent(event) : undefined);
  await printRun(id, { client, io, streams, ...(json ? { onEvent } : {}) });
}

/** A finished run carries its output and tells whether it is all; of another, the bytes so far are asked for. */
async function printKept(id: string, { flags, json, io, client }: LogsInput): Promise<void> {
  const streams = streamsOf(flags);
  const run = await client.getRun(id);
  for (const stream of streams) {
    const bytes = keptBytes(run, stream) ?? (await client.readOutput(id, stream));
    if (json) await printJson(io, { id, stream, base64: Buffer.from(bytes).toString("base64") });
    else await io[stream].write(bytes);
  }
  if (!json) await tellTruncation(run, { io, streams });
}

function keptBytes(run: Run, stream: StreamName): Uint8Array | undefined {
  const output = run[stream];
  return output && Buffer.from(output.data, output.encoding);
}

/** Neither flag, or both, means both. */
function streamsOf(flags: LogsInput["flags"]): readonly StreamName[] {
  if (flags.stdout === flags.stderr) return ["stdout", "stderr"];
  return flags.stdout ? ["stdout"] : ["stderr"];
}

const isOutput = (event: RunEvent): event is OutputEvent => event.type === "stdout" || event.type === "stderr";

/** JSON has no bytes. */
function inBase64({ bytes, ...event }: OutputEvent): object {
  return { ...event, base64: Buffer.from(bytes).toString("base64") };
}
