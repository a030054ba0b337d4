// An answer that is lines of JSON, made no faster than they are read.

import { isMayflyError, toMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { toProblem } from "../problem.ts";

export const LINES_TYPE = "application/x-ndjson";

/**
 * One line a value, an empty one for undefined. If making them fails, the last is {error: …}, a problem. `end` is called when nothing more is
 * made, whether because all was or because nobody reads on.
 */
export function linesOf(
  values: AsyncGenerator<unknown, void>,
  { end, log }: { end: () => void; log: Log },
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await values.next();
          if (!done)
            return controller.enqueue(encoder.encode(value === undefined ? "\n" : `${JSON.stringify(value)}\n`));
        } catch (thrown) {
          const error = toMayflyError(thrown);
          if (!isMayflyError(thrown)) log.warn("lines.failed", { error: thrown });
          controller.enqueue(encoder.encode(`${JSON.stringify({ error: toProblem(error) })}\n`));
        }
        controller.close();
        end();
      },
      async cancel() {
        end();
        await values.return();
      },
    },
    { highWaterMark: 0 },
  );
}
