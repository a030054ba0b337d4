// A run's output, live, on the caller's own streams.

import type { Client, EndEvent, RunEvent, StreamName } from "./client.ts";
import { type Io, note } from "./io.ts";
import { PullLine } from "./pull-line.ts";
import type { EndFacts } from "./run-event.ts";

export interface PrintOptions {
  readonly client: Client;
  readonly io: Io;
  readonly streams?: readonly StreamName[];
  /** Is given every event, and then nothing is written here: neither output nor notes. */
  readonly onEvent?: (event: RunEvent) => Promise<void>;
  /** Is shown every event before it is printed. */
  readonly see?: ((event: RunEvent) => void) | undefined;
  /** Ends the following; its reason is thrown then. */
  readonly signal?: AbortSignal | undefined;
}

const BOTH: readonly StreamName[] = ["stdout", "stderr"];

/**
 * Writes the bytes of each stream as they come and in order, no faster than they are read, and resolves with how the run ended.
 * A new attempt, output that was cut and, at a terminal, how far a pull has come are told on stderr. Throws ReaderGone, ClientError, or a stream's own error.
 */
export async function printRun(id: string, options: PrintOptions): Promise<EndEvent> {
  const { client, io, streams = BOTH, onEvent, see, signal } = options;
  const print = onEvent ?? createPrinter({ client, io, streams });
  for await (const event of client.followRun(id, { signal })) {
    see?.(event);
    await print(event);
    if (event.type === "end") return event;
  }
  throw new Error("a follower ended before its run"); // followRun gives `end` or throws.
}

function createPrinter({ client, io, streams }: Required<Pick<PrintOptions, "client" | "io" | "streams">>) {
  const pullLine = new PullLine(io);
  let attempt = 0;
  let hasOutput = false;
  return async (event: RunEvent): Promise<void> => {
    if (event.type === "progress") return pullLine.draw(event.pulling);
    await pullLine.clear();
    if (event.type === "end") {
      return tellTruncation(await factsOf(event, { client, hasOutput }), { io, streams });
    }
    if (event.attempt > attempt && hasOutput) {
      await note(io, `attempt ${event.attempt}: the host of the one before was lost, and the output starts again`);
      hasOutput = false;
    }
    attempt = event.attempt;
    if (event.type === "state" || !streams.includes(event.type)) return;
    hasOutput = true;
    await io[event.type].write(event.bytes);
  };
}

type OutputFacts = { readonly [S in StreamName]?: EndFacts | undefined };

/** How much was left out is in the end event or, from a gateway that does not tell it there, in the run itself. */
async function factsOf(
  event: EndEvent,
  { client, hasOutput }: { client: Client; hasOutput: boolean },
): Promise<OutputFacts> {
  return event.stdout || event.stderr || !hasOutput ? event : client.getRun(event.id);
}

export async function tellTruncation(
  facts: OutputFacts,
  { io, streams }: { io: Io; streams: readonly StreamName[] },
): Promise<void> {
  for (const stream of streams) {
    const { bytesSeen = 0, bytesKept = 0 } = facts[stream] ?? {};
    if (bytesSeen <= bytesKept) continue;
    await note(io, `${stream} was cut in its middle: ${bytesKept} of ${bytesSeen} bytes were kept (--output-limit)`);
  }
}
