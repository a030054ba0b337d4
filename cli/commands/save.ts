// mayfly save: images as one archive.

import type { Client } from "../client.ts";
import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import type { Sink } from "../sink.ts";
import { UsageError } from "../usage-error.ts";

const FORMATS = ["oci", "docker"] as const;

export const save = defineCommand({
  name: "save",
  synopsis: "REFERENCE...",
  says: "Writes images as one tar archive, with the digests that they have.",
  notes: ["A file is there once it is whole, and not before. Nothing is written to a terminal."],
  flags: {
    output: { short: "o", value: "FILE", says: "Where to; stdout without it." },
    format: { value: "FORMAT", says: "oci, an OCI layout, or docker, what 'docker load' takes; oci otherwise." },
    host: { value: "HOST", says: "From this one; otherwise from any that has all of them." },
  },
  operands: { min: 1, max: 64 },
  examples: ["mayfly save -o image.tar busybox", "mayfly save --format docker busybox | docker load"],
  execute: async ({ flags: { output, format = "oci", host }, operands, io, client }) => {
    const known = FORMATS.find((each) => each === format);
    if (known === undefined)
      throw new UsageError(`--format ${JSON.stringify(format)} is not one of ${FORMATS.join(", ")}`);
    if (output === undefined && io.terminal.isOutput)
      throw new UsageError("an archive is not written to a terminal: -o FILE is needed, or stdout that is none");
    const open = (signal?: AbortSignal) => client.images.save(operands, { host, format: known, signal });
    if (output !== undefined) return saveTo(output, open, io);
    await copy(open(), io.stdout);
    return EXIT.ok;
  },
});

type Archive = ReturnType<Client["images"]["save"]>;

/** A signal ends it, and what there is of the file goes. Resolves to the exit code. */
async function saveTo(path: string, open: (signal: AbortSignal) => Archive, io: Io): Promise<number> {
  const leaving = new AbortController();
  const stop = io.onSignal(() => leaving.abort());
  try {
    const archive = open(leaving.signal);
    // Refusals come before the first byte, and so before there is a file.
    const first = await archive.next();
    const file = await io.createFile(path);
    try {
      if (!first.done) await file.write(first.value);
      await copy(archive, file);
    } catch (error) {
      await file.abandon();
      throw error;
    }
    await file.finish();
    return EXIT.ok;
  } catch (error) {
    if (leaving.signal.aborted) return EXIT.cancelled;
    throw error;
  } finally {
    stop();
  }
}

async function copy(archive: Archive, to: Sink): Promise<void> {
  for await (const chunk of archive) await to.write(chunk);
}
