// A file that is either whole or not there: written beside its place, and put into it at the end.

import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { isErrno } from "../core/errors.ts";
import type { Sink } from "./sink.ts";

export interface NewFile extends Sink {
  /** It is whole. What had its name before is replaced. */
  finish(): Promise<void>;
  /** It is not, and leaves nothing behind. */
  abandon(): Promise<void>;
}

/** Throws Node's error. A device or a pipe is written as it is. */
export async function createNewFile(path: string): Promise<NewFile> {
  const inPlace = await isSpecial(path);
  const written = inPlace ? path : `${path}.${process.pid}.part`;
  const file: FileHandle = await open(written, inPlace ? "w" : "wx", 0o600);
  return {
    async write(bytes) {
      await file.writeFile(bytes);
    },
    async finish() {
      await file.close();
      if (!inPlace) await rename(written, path);
    },
    async abandon() {
      await file.close();
      if (!inPlace) await rm(written, { force: true });
    },
  };
}

async function isSpecial(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isFile();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
