// What a run has left, put into a directory of the caller's.

import type { Client, Run } from "./client.ts";
import { isClientError } from "./client-error.ts";
import { humanSize } from "./human-size.ts";
import { type Io, note } from "./io.ts";
import { unpack } from "./unpack.ts";

export interface Saving {
  readonly client: Client;
  readonly io: Io;
  readonly directory: string;
  /** Told of each file, by its path in the container. */
  readonly onFile?: (path: string) => Promise<void>;
}

/** Throws what keeps a file from being written. */
export async function saveArtifacts(id: string, { client, directory, onFile }: Saving): Promise<void> {
  for await (const name of unpack(client.artifacts.tar(id), directory)) await onFile?.(`/${name}`);
}

/** Of a run that ended as it has ended: that it has none, or not all, is told, and is no failure. */
export async function saveWhatThereIs(id: string, saving: Saving): Promise<void> {
  try {
    await saveArtifacts(id, saving);
    await tellLeftOut((await saving.client.artifacts.list(id)).truncated, saving.io);
  } catch (error) {
    if (!isClientError(error) || error.reason !== "artifact_not_found") throw error;
    await note(saving.io, error.message);
  }
}

export async function tellLeftOut(truncated: NonNullable<Run["artifacts"]>["truncated"], io: Io): Promise<void> {
  if (!truncated) return;
  const { files, bytes, more } = truncated;
  const count = `${files} ${files === 1 ? "artifact" : "artifacts"} of ${humanSize(bytes)}`;
  await note(io, more ? `at least ${count} left out: not all could be looked at` : `${count} left out: over the limit`);
}
