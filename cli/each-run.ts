// For commands that take several ids: one that fails does not keep the others from their turn.

import { EXIT } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { report } from "./report.ts";
import { ReaderGone } from "./sink.ts";

/** Calls `act` for each id in order, tells of each failure, and returns 1 if there was any. */
export async function eachRun(
  ids: readonly string[],
  { io, json, helpOf }: { io: Io; json: boolean; helpOf: string },
  act: (id: string) => Promise<void>,
): Promise<number> {
  let exitCode: number = EXIT.ok;
  for (const id of ids) {
    try {
      await act(id);
    } catch (error) {
      if (error instanceof ReaderGone) throw error;
      exitCode = await report(error, { io, json, helpOf, usageExit: EXIT.usage, failureExit: EXIT.failed });
    }
  }
  return exitCode;
}
