// A full disk in our words. It is noticed wherever something is written; what is told of it is the same everywhere.

import { isErrno, MayflyError } from "../../core/errors.ts";

/** The work's result. A disk that has no room left for it is `host_unavailable`; all other errors are its own. */
export async function tellingNoRoom<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!isErrno(cause, "ENOSPC", "EDQUOT", "EFBIG")) throw cause;
    throw new MayflyError("host_unavailable", `there is no room on the disk for images: ${messageOf(cause)}`, {
      cause,
    });
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
