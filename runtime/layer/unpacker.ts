// Runs mayfly-unpack for one layer: a blob in, a directory out. The program decompresses, confines itself and hashes what passes
// (see unpack/main.c); here it is compared with what the layer must be.

import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";
import { type Finished, finished, programFailed, startProcess } from "../host/command.ts";
import type { LayerDescriptor } from "./descriptor.ts";

type ChildProcess = ReturnType<typeof startProcess>;

export interface UnpackLimits {
  /** Entries of one layer, and directories that it only implies. */
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

export interface Unpacking extends UnpackerOptions {
  readonly layer: LayerDescriptor;
  /** A file to be made, that gets the blob as it comes. */
  readonly keep?: string | undefined;
  readonly signal: AbortSignal;
  /** Told how many bytes of the blob have come since it was last told. */
  readonly onBytes?: ((count: number) => void) | undefined;
}

/** What the program counted. */
export interface UnpackReport {
  readonly entries: number;
  /** Of the files' content; holes do not count. */
  readonly bytes: number;
  /** The same in whole blocks: a sparse file of single bytes takes thousands of times what it holds. */
  readonly diskBytes: number;
  readonly devicesSkipped: number;
  readonly xattrsSkipped: number;
  /** Nothing of the layers below is to be seen, and the directory cannot say so itself. */
  readonly opaqueRoot: boolean;
}

const REPORT = z.object({
  blob: z.string(),
  blobBytes: z.number(),
  tar: z.string(),
  entries: z.number(),
  bytes: z.number(),
  diskBytes: z.number(),
  devicesSkipped: z.number(),
  xattrsSkipped: z.number(),
  opaqueRoot: z.boolean(),
});
type Report = z.infer<typeof REPORT>;

/** The report is one short line; more is not from our program. */
const MAX_REPORT_BYTES = 1024;

/** From unpack/die.h. */
const EXIT_LAYER_REFUSED = 3;
const EXIT_BLOB_TOO_LONG = 5;

/**
 * Unpacks a layer's blob into the existing, empty `directory`. When it resolves, the blob's size and digest and the DiffID were
 * right, and everything is on disk, flushed, `keep` included.
 * When it rejects, the program has ended, and directory and `keep` hold rubbish, which is the caller's to remove.
 * However it ends, the blob is closed.
 * Errors: `image_corrupt` with the program's words; `host_unavailable`; the blob's own; the signal's reason.
 */
export async function unpack(
  blob: AsyncIterable<Uint8Array>,
  directory: string,
  unpacking: Unpacking,
): Promise<UnpackReport> {
  try {
    return await run(blob, directory, unpacking);
  } finally {
    letGo(blob);
  }
}

/** Of a blob that is not read to its end. An open file that is left to the garbage collector ends the process: Node takes it for an error. */
export function letGo(blob: AsyncIterable<Uint8Array>): void {
  if (blob instanceof Readable) blob.destroy();
}

async function run(blob: AsyncIterable<Uint8Array>, directory: string, unpacking: Unpacking): Promise<UnpackReport> {
  const { program, layer, signal, onBytes } = unpacking;
  const argv = argumentsOf(directory, unpacking);
  const child = startProcess(argv, { stdio: ["pipe", "pipe", "pipe"] });
  const said = collectReport(child);
  const bytes = onBytes ? counted(blob, onBytes) : blob;
  const [feeding, ending] = await Promise.allSettled([feed(bytes, child, signal), finished(child)]);
  signal.throwIfAborted();
  if (ending.status === "rejected") throw notStarted(program, ending.reason);
  if (feeding.status === "rejected" && isMayflyError(feeding.reason)) throw feeding.reason;
  if (ending.value.exitCode === EXIT_BLOB_TOO_LONG) throw wrongSize(layer);
  const report = REPORT.safeParse(parse(said())).data;
  if (report) checkBlob(layer, report);
  if (ending.value.exitCode !== 0 || !report) throw failureOf(argv, ending.value);
  if (feeding.status === "rejected") throw feeding.reason;
  checkTar(layer, report);
  const { entries, bytes: content, diskBytes, devicesSkipped, xattrsSkipped, opaqueRoot } = report;
  return { entries, bytes: content, diskBytes, devicesSkipped, xattrsSkipped, opaqueRoot };
}

function argumentsOf(
  directory: string,
  { program, uidBase, limits = UNPACK_LIMITS, layer, keep }: Unpacking,
): [string, ...string[]] {
  const given = {
    "--uid-base": uidBase,
    "--compression": layer.compression,
    "--max-blob-bytes": layer.size,
    "--max-entries": limits.entries,
    "--max-bytes": limits.bytes,
    ...(keep === undefined ? {} : { "--keep": keep }),
  };
  return [program, directory, ...Object.entries(given).flatMap(([name, value]) => [name, String(value)])];
}

async function* counted(blob: AsyncIterable<Uint8Array>, tell: (count: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of blob) {
    tell(chunk.byteLength);
    yield chunk;
  }
}

/** A blob that fails must not look like one that ends: the program is killed before it can believe in what it has. */
async function feed(blob: AsyncIterable<Uint8Array>, child: ChildProcess, signal: AbortSignal): Promise<void> {
  try {
    await pipeline(blob, child.stdin as Writable, { signal });
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // It ended before it could report, and its exit status says how.
  }
}

/** Of a blob that is not what it must be, nothing else that is found wrong matters. */
function checkBlob(layer: LayerDescriptor, { blob, blobBytes }: Report): void {
  if (blobBytes !== layer.size) throw wrongSize(layer);
  checkDigest("layer", layer.digest, blob);
}

function checkTar({ diffId }: LayerDescriptor, { tar }: Report): void {
  checkDigest("uncompressed layer", diffId, tar);
}

function checkDigest(what: string, expected: Digest, hex: string): void {
  const actual = `sha256:${hex}`;
  if (actual === expected) return;
  throw new MayflyError("image_corrupt", `${what} has digest ${actual}, not ${expected}`, {
    details: { expected, actual },
  });
}

function wrongSize({ digest, size }: LayerDescriptor): MayflyError {
  return new MayflyError("image_corrupt", `layer ${digest} does not have ${size} bytes`, { details: { digest, size } });
}

/** Of several lines the first is the cause. */
function failureOf(argv: readonly [string, ...string[]], end: Finished): MayflyError {
  if (end.exitCode !== EXIT_LAYER_REFUSED) return programFailed(argv, end);
  return new MayflyError("image_corrupt", `not a valid layer: ${end.stderrTail.split("\n", 1)[0]}`);
}

function notStarted(program: string, cause: unknown): MayflyError {
  return new MayflyError("host_unavailable", `${program} cannot be started`, { cause });
}
