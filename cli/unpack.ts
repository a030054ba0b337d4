// Puts the files of a tar into a directory, and nowhere else.
//
// The tar is foreign, and so may be what is in the directory already: a name leads down or is refused, on its way no symlink is
// followed, and what is in a file's place is replaced, never written to.

import { lstat, mkdir, open, rename, rm, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ARTIFACT_BOUNDS, isArtifactName } from "../core/artifacts.ts";
import { isErrno } from "../core/errors.ts";
import { readTar, type TarEntry, type TarRules } from "../core/tar-reader.ts";
import { invalidAnswer } from "./client-error.ts";
import { printable } from "./table.ts";

const RULES: TarRules = {
  maxEntries: 2 * ARTIFACT_BOUNDS.files,
  broken: (what) => invalidAnswer(`the gateway's tar: ${printable(what)}`),
  tooMany: (entries) => invalidAnswer(`the gateway's tar has more than ${entries} entries`),
};

/** Tells of each file that is there, by its name in the tar. Throws ClientError `answer_invalid` for a hostile tar; Node's error else. */
export async function* unpack(tar: AsyncIterable<Uint8Array>, directory: string): AsyncGenerator<string, void> {
  await mkdir(directory, { recursive: true });
  for await (const entry of readTar(tar, RULES)) {
    if (entry.type !== "file" || !isArtifactName(entry.name))
      throw invalidAnswer(`the gateway's tar has ${printable(JSON.stringify(entry.name))}, which is not unpacked`);
    await place(directory, entry);
    yield entry.name;
  }
}

/** Node names the file in its messages, too. */
async function place(directory: string, entry: TarEntry): Promise<void> {
  try {
    await makeParents(directory, entry.name);
    await writeFile(join(directory, entry.name), entry);
  } catch (error) {
    if (error instanceof Error) error.message = printable(error.message);
    throw error;
  }
}

async function makeParents(directory: string, name: string): Promise<void> {
  let parent = directory;
  for (const part of name.split("/").slice(0, -1)) {
    parent = join(parent, part);
    try {
      await mkdir(parent);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      if (!(await lstat(parent)).isDirectory()) throw new Error(`${parent} is in the way: it is no directory`);
    }
  }
}

/** Beside its place, and then into it: a file is there whole or not at all, and a symlink in its place is replaced. */
async function writeFile(path: string, { content, mode, modifiedMs }: TarEntry): Promise<void> {
  const part = join(dirname(path), `.mayfly-${process.pid}.part`);
  await rm(part, { force: true });
  const file = await open(part, "wx", mode);
  try {
    for await (const bytes of content) await file.writeFile(bytes);
    await file.close();
    await utimes(part, modifiedMs / 1000, modifiedMs / 1000);
    await rename(part, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(part, { force: true });
    throw error;
  }
}
