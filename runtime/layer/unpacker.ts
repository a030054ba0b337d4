// Runs mayfly-unpack for one layer: a stream of tar in, a directory out. The program confines itself (see unpack/main.c).

import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { type Finished, finished, programFailed, startProcess } from "../host/command.ts";

type ChildProcess = ReturnType<typeof startProcess>;

export interface UnpackLimits {
  /** Entries of one layer. */
  readonly entries: number;
  /** Bytes of one layer's tar stream; bounds what it takes on disk. */
  readonly bytes: number;
}

/** No image in use comes near; a layer that does is an attack or a mistake. */
export const UNPACK_LIMITS: UnpackLimits = { entries: 1_000_000, bytes: 20 * 2 ** 30 };

export interface UnpackerOptions {
  /** Path of the mayfly-unpack program. */
  readonly program: string;
  /** Uid and gid of the host that stand for root; 65,536 from there belong to containers. At least 65,536. */
  readonly uidBase: number;
  readonly limits?: UnpackLimits;
}

/** What the program counted. */
export interface UnpackReport {
  readonly entries: number;
  readonly bytes: number;
  readonly devicesSkipped: number;
  readonly xattrsSkipped: number;
  /** Nothing of the layers below is to be seen, and the directory cannot say so itself. */
  readonly opaqueRoot: boolean;
}

const REPORT = z.object({
  entries: z.number(),
  bytes: z.number(),
  devicesSkipped: z.number(),
  xattrsSkipped: z.number(),
  opaqueRoot: z.boolean(),
});

/** The report is one short line; more is not from our program. */
const MAX_REPORT_BYTES = 1024;

/** From the head of unpack/main.c. */
const EXIT_LAYER_REFUSED = 3;

/**
 * Unpacks a tar stream into the existing, empty `directory`. When it resolves, everything is on disk, flushed.
 * When it rejects, the program has ended and the directory holds rubbish, which is the caller's to remove.
 * Errors: `image_corrupt` with the program's words; `host_unavailable`; the stream's own; the signal's reason.
 */
export async function unpack(
  tar: Readable,
  directory: string,
  { program, uidBase, limits = UNPACK_LIMITS, signal }: UnpackerOptions & { signal: AbortSignal },
): Promise<UnpackReport> {
  const counts = ["--max-entries", String(limits.entries), "--max-bytes", String(limits.bytes)];
  const argv = [program, directory, "--uid-base", String(uidBase), ...counts] as const;
  const child = startProcess([...argv], { stdio: ["pipe", "pipe", "pipe"] });
  const report = collectReport(child);
  const [feeding, ending] = await Promise.allSettled([feed(tar, child, signal), finished(child)]);
  signal.throwIfAborted();
  if (ending.status === "rejected") throw notStarted(program, ending.reason);
  if (feeding.status === "rejected" && isMayflyError(feeding.reason)) throw feeding.reason;
  if (ending.value.exitCode !== 0) throw failureOf([...argv], ending.value);
  if (feeding.status === "rejected") throw feeding.reason;
  return REPORT.parse(JSON.parse(report()));
}

/** A stream that fails must not look like one that ends: the program is killed before it can believe in what it has. */
async function feed(tar: Readable, child: ChildProcess, signal: AbortSignal): Promise<void> {
  try {
    await pipeline(tar, child.stdin as Writable, { signal });
  } catch (error) {
    if (!isBrokenPipe(error)) child.kill("SIGKILL");
    throw error;
  }
}

/** The program has closed its stdin, so it has ended, or is about to, and says why. */
function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EPIPE" || error.code === "ECONNRESET");
}

function collectReport(child: ChildProcess): () => string {
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString("latin1")).slice(0, MAX_REPORT_BYTES);
  });
  return () => text;
}

function failureOf(argv: readonly [string, ...string[]], end: Finished): MayflyError {
  if (end.exitCode !== EXIT_LAYER_REFUSED) return programFailed(argv, end);
  return new MayflyError("image_corrupt", `not a valid layer: ${end.stderrTail.trim()}`);
}

function notStarted(program: string, cause: unknown): MayflyError {
  return new MayflyError("host_unavailable", `${program} cannot be started`, { cause });
}
