// mayfly map: a command for each line of stdin, each in a fresh container, as GNU parallel runs them here.

import { defineCommand } from "../command.ts";
import { parseHalt } from "../halt.ts";
import { mapLines } from "../map-lines.ts";
import { readBrought, withUpload } from "../run-files.ts";
import { ABSENT_RUN_FLAGS, RUN_FLAGS } from "../run-flags.ts";
import { buildRequest } from "../run-request.ts";
import { UsageError } from "../usage-error.ts";
import { wholeNumber } from "../whole-number.ts";

// Nobody is there to type; and the lines are what is read.
const { detach: _detach, interactive: _interactive, tty: _tty, rm: _rm, webhook: _webhook, ...RUN } = RUN_FLAGS;

const PLACE = "{}";

export const map = defineCommand({
  name: "map",
  synopsis: "IMAGE [--] [COMMAND...]",
  says: "Runs a command for each line of stdin, {} in it being the line, each in a fresh container.",
  flags: {
    ...RUN,
    halt: { value: "WHEN", says: "never; soon,fail=N (begin no more); now,fail=N (end all)." },
    jobs: { short: "j", value: "NUMBER", says: "So many at once; otherwise as many as there is room for." },
    "keep-order": { short: "k", says: "Print outputs in the order of the lines." },
    name: { value: "NAME", says: "Of the batch, for people." },
    pipe: { says: "Give each line to the command's stdin, not to its arguments." },
  },
  absent: ABSENT_RUN_FLAGS,
  stopAtOperand: true,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  notes: [
    "Without {} the line is the last argument. Each output is printed once its command has ended.",
    "Exit code, as GNU parallel's: how many failed, up to 100; 101 for more; 255 if Mayfly failed.\nCtrl-C cancels all, twice leaves at once.",
  ],
  examples: [
    "seq 100 | mayfly map -j 50 busybox -- echo number {}",
    "ls *.txt | mayfly map -k --halt now,fail=1 busybox sh -c 'echo {} | tr a-z A-Z'",
  ],
  usageExit: 255,
  failureExit: 255,
  execute: async ({ flags, operands, io, client, json }) => {
    const { halt, jobs, "keep-order": keepOrder, name, pipe, ...forRun } = flags;
    const [image = "", ...rest] = operands;
    const command = rest[0] === "--" ? rest.slice(1) : rest;
    if (pipe && command.some((word) => word.includes(PLACE)))
      throw new UsageError(`--pipe gives the line to stdin: there is nothing to put in the place of ${PLACE}`);
    const hasPlace = pipe || command.some((word) => word.includes(PLACE));
    const words = [image, ...command, ...(hasPlace ? [] : [PLACE])];
    const { fields, directory } = await readBrought(forRun);
    const unwatched = { detach: true, interactive: false, tty: false, rm: false, webhook: undefined };
    const asked = buildRequest({ ...forRun, ...unwatched }, words, io, fields);
    const concurrency = wholeNumber("--jobs", jobs);
    const options = {
      stdin: pipe,
      ...(concurrency === undefined || concurrency === 0 ? {} : { concurrency }),
      ...(name === undefined ? {} : { name }),
    };
    const answer = { halt: parseHalt(halt), keepOrder, io, client, json };
    return withUpload(asked, directory, { client, io }, (template) => mapLines({ ...options, template }, answer));
  },
});
