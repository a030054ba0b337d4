// mayfly run: one command in one fresh container.

import { attach } from "../attach.ts";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { readBrought, withUpload } from "../run-files.ts";
import { ABSENT_RUN_FLAGS, RUN_FLAGS } from "../run-flags.ts";
import { buildRequest } from "../run-request.ts";
import { saveWhatThereIs } from "../save-artifacts.ts";
import { UsageError } from "../usage-error.ts";

export const run = defineCommand({
  name: "run",
  synopsis: "IMAGE [COMMAND...]",
  says: "Runs a command in a fresh container, and exits as it does.",
  flags: {
    ...RUN_FLAGS,
    "artifacts-to": { value: "DIR", says: "Put what --artifact keeps there, once it has ended." },
  },
  absent: ABSENT_RUN_FLAGS,
  stopAtOperand: true,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  usageExit: EXIT.runFailed,
  failureExit: EXIT.runFailed,
  notes: [
    "Flags end at IMAGE: what follows it is the program's.",
    "Exit code: the program's own; 128 + N if signal N ended it; 124 timed out; 125 Mayfly failed;\n130 cancelled; 137 out of memory. Ctrl-C cancels the run, twice leaves at once.",
    "With -it all keys, Ctrl-C too, go to the program once it runs; Ctrl-P Ctrl-Q leaves it running\nand prints its id. It may run for 1h and write 16MiB then, unless flags say otherwise.",
  ],
  examples: [
    "mayfly run busybox echo hello",
    "mayfly run -e GREETING=hello -m 64m --timeout 10s busybox sh -c 'echo $GREETING'",
    "mayfly run -i busybox wc -c < file",
    "mayfly run --upload src:/src busybox ls -R /src",
    "mayfly run -it busybox sh",
    "id=$(mayfly run -d busybox sleep 30); mayfly wait $id",
    "mayfly run --json busybox id | jq .outcome",
    "mayfly run --artifact '/out/**' --artifacts-to results busybox sh -c 'mkdir /out; date > /out/now'",
  ],
  execute: async ({ flags, operands, json, io, client }) => {
    const { "artifacts-to": results, ...forRun } = flags;
    if (results !== undefined) checkResults(flags);
    const { fields, directory } = await readBrought(forRun);
    const asked = buildRequest(forRun, operands, io, fields);
    if (flags.tty && json)
      throw new UsageError("--json and -t exclude each other: a terminal shows output as it comes");
    const onEnd =
      results === undefined ? undefined : (id: string) => saveWhatThereIs(id, { client, io, directory: results });
    return withUpload(asked, directory, { client, io }, async (request) => {
      if (!flags.detach) return attach(request, { client, io, json, onEnd });
      const accepted = await client.createRun(request);
      await (json ? printJson(io, accepted) : io.stdout.write(`${accepted.id}\n`));
      return EXIT.ok;
    });
  },
});

function checkResults({ artifact, detach }: { readonly artifact: readonly string[]; readonly detach: boolean }): void {
  if (artifact.length === 0)
    throw new UsageError("--artifacts-to needs --artifact PATTERN: which files are to be kept");
  if (detach)
    throw new UsageError("-d and --artifacts-to exclude each other: 'mayfly artifacts ID -o DIR' has them later");
}
