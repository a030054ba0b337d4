// Directories that hold a subdirectory a registry, named `host[:port]`.

import { stat } from "node:fs/promises";
import { MayflyError } from "../../core/errors.ts";

/** A host comes from foreign answers too: it names one subdirectory, and never a way out. */
export function isDirectoryName(host: string): boolean {
  return /^[a-z0-9[][a-z0-9.:_\][-]{0,254}$/i.test(host);
}

/** Throws `configuration_invalid` if the path is not of a directory: one that is mistyped must not look like one that is empty. */
export async function checkDirectory(path: string, what: string): Promise<void> {
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw new MayflyError("configuration_invalid", `${what}: ${path} is not a directory`);
}
