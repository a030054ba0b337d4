// What hosts could not do, told to the person or the program that asked for it.

import type { HostFailure } from "../core/images.ts";
import { EXIT } from "./exit-codes.ts";
import { type Io, note, noteJson } from "./io.ts";

/** Resolves to the exit code: 1 if there was any. */
export async function tellFailures(failed: readonly HostFailure[], { io, json }: { io: Io; json: boolean }) {
  for (const { host, error } of failed) {
    await (json ? noteJson(io, { host, error }) : note(io, `${host}: ${error.message} (${error.reason})`));
  }
  return failed.length > 0 ? EXIT.failed : EXIT.ok;
}

/** Where no host was there to do it, nothing was done, and that is a failure. Resolves to the exit code. */
export async function tellNobody(hosts: number, what: string, io: Io): Promise<number> {
  if (hosts > 0) return EXIT.ok;
  await note(io, `there is no host ${what}`);
  return EXIT.failed;
}

/** Of a question about one image: hosts that do not have it are no failure if one does. */
export function withoutAbsent(failed: readonly HostFailure[], someHaveIt: boolean): readonly HostFailure[] {
  return someHaveIt ? failed.filter(({ error }) => error.reason !== "image_not_present") : failed;
}
