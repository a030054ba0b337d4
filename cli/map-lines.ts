// The lines of stdin as a batch, and its outputs as if they had been printed here: each in one piece, none mixed with another.

import type { BatchOptions, BatchResult } from "../core/batch.ts";
import { ProgressBar } from "./batch-progress.ts";
import { type Client, isClientError } from "./client.ts";
import { conclude } from "./exit-codes.ts";
import type { Halt } from "./halt.ts";
import { cancelOnSignal } from "./interrupt.ts";
import { type Io, note, printJson } from "./io.ts";
import { piecesOf } from "./line-pieces.ts";

export interface MapOptions {
  readonly halt: Halt;
  readonly keepOrder: boolean;
  readonly io: Io;
  readonly client: Client;
  readonly json: boolean;
}

/** GNU parallel's: from here on it only says that there were more. */
const MAX_COUNTED = 100;

/** Resolves to GNU parallel's exit code. */
export async function mapLines(
  options: BatchOptions,
  { halt, keepOrder, io, client, json }: MapOptions,
): Promise<number> {
  const interrupts = cancelOnSignal(io, (id) => client.batches.cancel(id));
  const bar = new ProgressBar(io);
  const onFailure = halt.maxFailures === undefined ? {} : { onFailure: { maxFailures: halt.maxFailures } };
  const over = new AbortController();
  try {
    // With no line but its first, so that it is known before the first line of stdin comes.
    const { id } = await client.batches.open({ ...options, ...onFailure });
    interrupts.watch(id);
    const sending = sendStdin(client, id, io, over.signal);
    sending.catch(() => over.abort());
    let failed = 0;
    const order = keepOrder ? "input" : "completion";
    try {
      for await (const result of client.batches.results(id, { order, signal: over.signal })) {
        await bar.clear();
        await (json ? printJson(io, result) : print(result, { io, client }));
        if (isFailure(result)) failed++;
        if (halt.now && failed === (halt.maxFailures ?? 0) + 1) await client.batches.cancel(id);
        await bar.draw(() => client.batches.inspect(id));
      }
    } catch (error) {
      await (over.signal.aborted ? sending : undefined); // If it is what failed, it says why.
      throw error;
    }
    // Of a batch that was stopped the rest of the lines is not wanted, and what comes of sending it does not matter.
    over.abort();
    io.stdin().destroy();
    await sending.catch(() => {});
    return Math.min(failed, MAX_COUNTED + 1);
  } finally {
    interrupts.stop();
    await bar.clear();
    io.stdin().destroy();
  }
}

async function sendStdin(client: Client, id: string, io: Io, signal: AbortSignal): Promise<void> {
  try {
    const pieces = asInputs(piecesOf(io.stdin()));
    await client.batches.send(id, HEAD_LINES, pieces, { close: true, signal });
  } catch (error) {
    // It was stopped, by failures or by somebody: the results say so.
    if (!isClientError(error) || error.reason !== "batch_closed") throw error;
  }
}

const HEAD_LINES = 1;

async function* asInputs(pieces: AsyncIterable<string[]>): AsyncGenerator<string[]> {
  for await (const piece of pieces) yield piece.map((line) => JSON.stringify(line));
}

/** What was never begun, or ended because the rest was, has not failed by itself. */
const isFailure = ({ outcome }: BatchResult): boolean =>
  outcome.kind !== "cancelled" && !(outcome.kind === "exited" && outcome.exitCode === 0);

async function print(result: BatchResult, { io, client }: { io: Io; client: Client }): Promise<void> {
  const { run, outcome, index } = result;
  for (const stream of ["stdout", "stderr"] as const) {
    const output = result[stream];
    if (!output || output.bytesSeen === 0) continue;
    const bytes =
      output.truncated && run !== undefined
        ? await client.readOutput(run, stream)
        : Buffer.from(output.data, ENCODING[output.encoding]);
    await io[stream].write(bytes);
  }
  const { message } = conclude(outcome);
  if (message !== undefined && run !== undefined) await note(io, `line ${index + 1} (${run}): ${message}`);
}

const ENCODING = { utf8: "utf8", base64: "base64" } as const;
