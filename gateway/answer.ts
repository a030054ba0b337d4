// A record as its caller sees it.

import { wallTime } from "../core/clock.ts";
import type { PastAttempt, RunRecord } from "../core/record.ts";
import { PHASES, type Run, type StreamFacts } from "../core/run.ts";

export interface Kept {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Without `kept`, the answer has no output: as in a list. */
export function toRun(record: RunRecord, kept?: Kept): Run {
  const { id, state, attempt, request, pulling, outcome, receipt } = record;
  return {
    id,
    state,
    image: request.image,
    labels: request.labels ?? {},
    attempt,
    ...(record.schedule === undefined ? {} : { schedule: record.schedule }),
    createdAt: wallTime(record.createdAt),
    ...(record.startedAt === undefined ? {} : { startedAt: wallTime(record.startedAt) }),
    ...(record.finishedAt === undefined ? {} : { finishedAt: wallTime(record.finishedAt) }),
    ...(record.attempts ? { attempts: record.attempts.map(toPast) } : {}),
    ...(record.retriedFrom === undefined ? {} : { retriedFrom: record.retriedFrom }),
    ...(record.cancelRequested ? { cancelRequested: true } : {}),
    ...(pulling && state === "starting" ? { pulling } : {}),
    ...(outcome ? { outcome } : {}),
    ...(kept && record.stdout ? { stdout: toOutput(record.stdout, kept.stdout) } : {}),
    ...(kept && record.stderr ? { stderr: toOutput(record.stderr, kept.stderr) } : {}),
    ...(record.artifacts ? { artifacts: record.artifacts } : {}),
    ...(receipt ? { receipt } : {}),
  };
}

function toPast({ startedAt, finishedAt, ...rest }: PastAttempt): NonNullable<Run["attempts"]>[number] {
  const started = startedAt === undefined ? {} : { startedAt: wallTime(startedAt) };
  return { ...rest, ...started, finishedAt: wallTime(finishedAt) };
}

/** Text where the bytes are text, else base 64: nothing is lost or replaced either way. */
export function toOutput(facts: StreamFacts, bytes: Buffer): NonNullable<Run["stdout"]> {
  const text = isMostlyControl(bytes) ? undefined : decode(bytes);
  if (text !== undefined) return { ...facts, encoding: "utf8", data: text };
  return { ...facts, encoding: "base64", data: bytes.toString("base64") };
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** JSON writes a control character as six bytes; where there are many, base 64 is the smaller. */
function isMostlyControl(bytes: Buffer): boolean {
  let count = 0;
  for (const byte of bytes) if (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) count++;
  return count * 16 > bytes.length;
}

/** The phases of a run as a Server-Timing header: `queue;dur=0.9, pull;dur=0.1`. Empty if there are none. */
export function serverTiming(record: RunRecord): string {
  const phases = record.receipt?.phases ?? {};
  return PHASES.flatMap((phase) => (phases[phase] === undefined ? [] : [`${phase};dur=${phases[phase]}`])).join(", ");
}
