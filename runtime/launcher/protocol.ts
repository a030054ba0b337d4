// The worker's mirror of protocol.h: the frames between a worker and the launcher. What each means, and in what order they may
// come, is told there; a test holds the numbers of the two together.

import type { SandboxArtifacts, SandboxLimits } from "../task/sandbox.ts";

export const PROTOCOL_VERSION = 3;
export const FRAME_HEADER_BYTES = 8;
export const MAX_FRAME_BYTES = 1_048_576;
export const MAX_CHUNK_BYTES = 65_536;
export const STREAM_WINDOW_BYTES = 262_144;

/** Frame types; the names are those of protocol.h without FRAME_. */
export const FRAME = {
  PREPARE: 1,
  RUN: 2,
  STDIN: 3,
  CREDIT: 4,
  DEADLINE: 5,
  SIGNAL: 6,
  RESIZE: 7,
  KILL: 8,
  RELEASE: 9,
  STATUS: 10,
  RESET: 11,
  PREPARED: 32,
  STARTED: 33,
  OUTPUT: 34,
  END: 35,
  EXITED: 36,
  FAILED: 37,
  RELEASED: 38,
  STATUS_IS: 39,
  RESET_DONE: 40,
  COLLECTING: 41,
} as const;

export interface Frame {
  readonly type: number;
  /** Of OUTPUT, END and CREDIT: 0, 1, 2 or 3. */
  readonly stream: number;
  readonly payload: Buffer;
}

const NOTHING = Buffer.alloc(0);

/** One frame, header and payload. */
export function encodeFrame(type: number, payload: Buffer = NOTHING, stream = 0): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt8(type, 4);
  frame.writeUInt8(stream, 5);
  frame.writeUInt16LE(0, 6);
  payload.copy(frame, FRAME_HEADER_BYTES);
  return frame;
}

export function encodeU32(type: number, value: number, stream = 0): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32LE(value);
  return encodeFrame(type, payload, stream);
}

export function encodeU64(type: number, value: number): Buffer {
  const payload = Buffer.allocUnsafe(8);
  payload.writeBigUInt64LE(BigInt(value));
  return encodeFrame(type, payload);
}

export function encodeResize(rows: number, columns: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt16LE(rows, 0);
  payload.writeUInt16LE(columns, 2);
  return encodeFrame(FRAME.RESIZE, payload);
}

export interface RunFrame {
  readonly id: string;
  readonly hostname: string;
  /** Absolute directories, the topmost first. */
  readonly layers: readonly string[];
  readonly user: string;
  readonly workdir: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly keepHome: boolean;
  /** Files come first on stdin (task/files.ts); never with a terminal. */
  readonly hasFiles: boolean;
  readonly artifacts?: SandboxArtifacts | undefined;
  readonly limits: SandboxLimits;
  readonly cpuQuotaUs: number;
  readonly deadlineMs: number;
  readonly terminal: { readonly rows: number; readonly columns: number } | undefined;
}

/** enum run_flag. */
export const RUN_FLAG = { KEEP_HOME: 1, FILES: 2 } as const;

/** struct run_header, in bytes. */
export const RUN_HEADER_BYTES = 64;

/** A RUN frame: struct run_header, then its strings. */
export function encodeRun(run: RunFrame): Buffer {
  const { id, hostname, layers, user, workdir, argv, env, artifacts, limits, terminal } = run;
  const header = Buffer.allocUnsafe(RUN_HEADER_BYTES);
  header.writeBigUInt64LE(BigInt(Math.max(1, Math.floor(run.deadlineMs))), 0);
  header.writeBigUInt64LE(BigInt(limits.memoryBytes), 8);
  header.writeBigUInt64LE(BigInt(limits.diskBytes), 16);
  header.writeUInt32LE(run.cpuQuotaUs, 24);
  header.writeUInt32LE(limits.pids, 28);
  header.writeUInt16LE(terminal?.rows ?? 0, 32);
  header.writeUInt16LE(terminal?.columns ?? 0, 34);
  header.writeUInt16LE(layers.length, 36);
  header.writeUInt16LE((run.keepHome ? RUN_FLAG.KEEP_HOME : 0) | (run.hasFiles ? RUN_FLAG.FILES : 0), 38);
  header.writeUInt32LE(argv.length, 40);
  header.writeUInt32LE(env.length, 44);
  header.writeBigUInt64LE(BigInt(artifacts?.maxBytes ?? 0), 48);
  header.writeUInt32LE(artifacts?.maxFiles ?? 0, 56);
  header.writeUInt32LE(artifacts?.patterns.length ?? 0, 60);
  const strings = [id, hostname, ...layers, user, workdir, ...argv, ...env, ...(artifacts?.patterns ?? [])];
  return encodeFrame(FRAME.RUN, Buffer.concat([header, Buffer.from(`${strings.join("\0")}\0`)]));
}

/** struct started. */
export function decodeStarted(payload: Buffer): { furnishMs: number; startMs: number; wasBlank: boolean } {
  return {
    furnishMs: u64(payload, 0) / 1000,
    startMs: u64(payload, 8) / 1000,
    wasBlank: payload.readUInt32LE(16) === 1,
  };
}

export interface ExitedFrame {
  /** As wait(2) has it. */
  readonly waitStatus: number;
  readonly hasFacts: boolean;
  readonly cpuMs: number;
  readonly throttledMs: number;
  readonly peakMemoryBytes: number | undefined;
  readonly oomKills: number;
}

const NOT_COUNTED = 0xffff_ffff_ffff_ffffn;

/** struct exited. */
export function decodeExited(payload: Buffer): ExitedFrame {
  return {
    waitStatus: payload.readUInt32LE(0),
    hasFacts: payload.readUInt32LE(4) === 1,
    cpuMs: u64(payload, 8) / 1000,
    throttledMs: u64(payload, 16) / 1000,
    peakMemoryBytes: payload.readBigUInt64LE(24) === NOT_COUNTED ? undefined : u64(payload, 24),
    oomKills: u64(payload, 32),
  };
}

export interface LauncherStatus {
  readonly protocolVersion: number;
  readonly cgroupVersion: number;
  /** Ready ones. */
  readonly blanks: number;
  /** As many as are to be kept ready now. */
  readonly target: number;
  /** Alive. */
  readonly sandboxes: number;
  /** Cgroups of an earlier life that were removed at start. */
  readonly leftovers: number;
  /** Names of the cgroups of blanks that are ready or being made. */
  readonly blankNames: readonly string[];
}

/** struct status, in bytes. */
export const STATUS_BYTES = 24;

export function decodeStatus(payload: Buffer): LauncherStatus {
  const word = (index: number) => payload.readUInt32LE(index * 4);
  return {
    protocolVersion: word(0),
    cgroupVersion: word(1),
    blanks: word(2),
    target: word(3),
    sandboxes: word(4),
    leftovers: word(5),
    blankNames: decodeStrings(payload.subarray(STATUS_BYTES)),
  };
}

/** NUL-terminated strings, one after the other. */
export function decodeStrings(bytes: Buffer): string[] {
  return bytes.toString("utf8").split("\0").slice(0, -1);
}

export function decodeFailed(payload: Buffer): { stage: string; message: string } {
  const text = payload.toString("utf8");
  const nul = text.indexOf("\0");
  return { stage: text.slice(0, nul), message: text.slice(nul + 1) };
}

function u64(bytes: Buffer, offset: number): number {
  return Number(bytes.readBigUInt64LE(offset));
}

/** Cuts a stream of bytes into frames. Payloads are views of what was pushed, valid until the next push. */
export class FrameReader {
  #rest: Buffer = NOTHING;

  /** Throws if this is not the launcher speaking: then nothing after it can be understood. */
  *push(chunk: Buffer): Generator<Frame> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= FRAME_HEADER_BYTES) {
      const length = bytes.readUInt32LE(0);
      if (length > MAX_FRAME_BYTES) throw new Error(`a frame of ${length} bytes`);
      const end = FRAME_HEADER_BYTES + length;
      if (bytes.length < end) break;
      yield { type: bytes[4] ?? 0, stream: bytes[5] ?? 0, payload: bytes.subarray(FRAME_HEADER_BYTES, end) };
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes.length === 0 ? NOTHING : bytes;
  }
}
