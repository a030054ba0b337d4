// mayfly artifacts: the files that a run has left.

import type { Artifact } from "../../core/artifacts.ts";
import { defineCommand, type Input } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { humanSize } from "../human-size.ts";
import { printJson } from "../io.ts";
import { saveArtifacts, tellLeftOut } from "../save-artifacts.ts";
import { alignColumns, printable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const FLAGS = {
  output: { short: "o", value: "DIR", says: "Put all of them there, below the paths that they had." },
} as const;

export const artifacts = defineCommand({
  name: "artifacts",
  synopsis: "ID [PATH]",
  says: "Lists the files that a run has left, prints one, or puts all into a directory.",
  flags: FLAGS,
  operands: { min: 1, max: 2 },
  notes: [
    "A run leaves what 'mayfly run --artifact PATTERN' asks for; see there.",
    "With -o nothing is written outside DIR; files that are there are replaced.",
  ],
  examples: [
    "mayfly artifacts run_01k9xq2v7n3b8c5d6e7f8g9h0j",
    "mayfly artifacts $id /out/report.json | jq .",
    "mayfly artifacts $id -o results",
  ],
  execute: async (input) => {
    const [id = "", path] = input.operands;
    if (path !== undefined && input.flags.output !== undefined)
      throw new UsageError("-o and PATH exclude each other: one file goes to stdout, all go to DIR");
    if (input.flags.output !== undefined) await save(id, input.flags.output, input);
    else if (path !== undefined) await input.io.stdout.write(await input.client.artifacts.read(id, path));
    else await list(id, input);
    return EXIT.ok;
  },
});

type ArtifactsInput = Input<typeof FLAGS>;

async function list(id: string, { client, io, json }: ArtifactsInput): Promise<void> {
  const { artifacts: found, truncated } = await client.artifacts.list(id);
  if (json) for (const each of found) await printJson(io, each);
  else
    await io.stdout.write(`${alignColumns([["MODE", "SIZE", "MODIFIED", "PATH"], ...found.map(rowOf)]).join("\n")}\n`);
  await tellLeftOut(truncated, io);
}

function rowOf({ path, bytes, mode, modified }: Artifact): string[] {
  return [mode, humanSize(bytes), modified.replace(/\.\d+Z$/, "Z"), path];
}

async function save(id: string, directory: string, { client, io, json }: ArtifactsInput): Promise<void> {
  const onFile = (path: string) => (json ? printJson(io, { path }) : io.stdout.write(`${printable(path)}\n`));
  await saveArtifacts(id, { client, io, directory, onFile });
  await tellLeftOut((await client.artifacts.list(id)).truncated, io);
}
