// `mayfly run` without -d: the run's life beside this process', and the one exit code that comes of it.

import { planRun } from "../core/plan.ts";
import { liveBytes } from "../core/run.ts";
import type { Client, Outcome, Run, RunRequest } from "./client.ts";
import { conclude, EXIT } from "./exit-codes.ts";
import { cancelOnSignal } from "./interrupt.ts";
import { type Io, note, printJson } from "./io.ts";
import { printRun } from "./print-run.ts";
import { openSession, type Session } from "./session.ts";
import { ReaderGone } from "./sink.ts";
import { feedStdin } from "./stdin.ts";

export interface Attachment {
  readonly client: Client;
  readonly io: Io;
  /** The finished run as one JSON document on stdout, with its output in it, instead of the output itself. */
  readonly json: boolean;
  /** Called once the run has ended, before the exit code is told. */
  readonly onEnd?: ((id: string) => Promise<void>) | undefined;
}

/** Resolves to the exit code when the run has ended. Throws what kept it from being seen to its end. */
export async function attach(request: RunRequest, attachment: Attachment): Promise<number> {
  const { client, io } = attachment;
  const interrupts = cancelOnSignal(io, (id) => client.cancelRun(id));
  try {
    const run = await client.createRun(request);
    interrupts.watch(run.id);
    const session = sessionOf(run, request, attachment);
    const feeding = startFeeding(run.id, request, attachment, session);
    try {
      return await (attachment.json ? awaitAsJson(run, attachment) : awaitLive(run, attachment, session));
    } finally {
      session?.close();
      await feeding.stop();
    }
  } finally {
    interrupts.stop();
  }
}

function sessionOf({ id }: Run, request: RunRequest, { client, io }: Attachment): Session | undefined {
  const { terminal: size, stdin } = request;
  if (!size) return undefined;
  const { outputBytes } = planRun(request).limits;
  return openSession({ id, client, io, size, liveBytes: liveBytes(outputBytes), interactive: stdin !== undefined });
}

async function awaitLive({ id }: Run, { client, io, onEnd }: Attachment, session?: Session): Promise<number> {
  const stdout = session?.stdout ?? io.stdout;
  let ended: Outcome;
  try {
    const end = await printRun(id, { client, io: { ...io, stdout }, see: session?.see, signal: session?.over });
    ended = end.outcome;
  } catch (error) {
    if (session?.hasLeft()) {
      session.close();
      await io.stdout.write(`\n${id}\n`); // The cursor is wherever the program has put it.
      return EXIT.ok;
    }
    if (error instanceof ReaderGone) {
      // A local program would have ended by SIGPIPE.
      await cancelQuietly(client, id);
    } else {
      await note(io, `lost sight of ${id}, which may still go on: see 'mayfly logs -f ${id}'`);
    }
    throw error;
  }
  session?.close();
  const { exitCode, message } = conclude(ended);
  if (message !== undefined) await note(io, message);
  await onEnd?.(id);
  return exitCode;
}

async function awaitAsJson({ id }: Run, { client, io, onEnd }: Attachment): Promise<number> {
  const run = await client.waitRun(id);
  await printJson(io, run);
  await onEnd?.(id);
  return run.outcome === undefined ? EXIT.runFailed : conclude(run.outcome).exitCode;
}

/**
 * The program would take input that broke off for all there is, so a failure to send it cancels the run.
 * `stop` resolves when nothing is sent any more, and throws that failure.
 */
function startFeeding(
  id: string,
  { stdin }: RunRequest,
  { client, io }: Attachment,
  session: Session | undefined,
): { stop(): Promise<void> } {
  if (stdin === undefined) return { stop: async () => {} };
  const leaving = new AbortController();
  let failure: { error: unknown } | undefined;
  const feeding = feedStdin(client, id, session?.keys ?? io.stdin(), leaving.signal).catch(async (error) => {
    failure = { error };
    await cancelQuietly(client, id);
    session?.hangUp();
  });
  return {
    async stop() {
      leaving.abort();
      await feeding;
      if (failure) throw failure.error;
    },
  };
}

/** For when another error is already to be told: the run's own clocks end it if this does not. */
async function cancelQuietly(client: Client, id: string): Promise<void> {
  await client.cancelRun(id).catch(() => undefined);
}
