// The events of a run, from what the event stream carries to typed values with bytes in them.

import { Outcome, Pulling, Receipt, Run, RunState } from "../core/run.ts";
import { isObject, parseAnswer } from "./answers.ts";
import { invalidAnswer } from "./client-error.ts";
import type { SseEvent } from "./sse.ts";

export type StreamName = "stdout" | "stderr";

export interface StateEvent {
  readonly type: "state";
  readonly state: RunState;
  readonly attempt: number;
}

/** How far the image has come that the run waits for. */
export interface ProgressEvent {
  readonly type: "progress";
  readonly pulling: Pulling;
}

/** Bytes of one stream. `offset` counts the kept bytes of that stream before these, in this attempt. */
export interface OutputEvent {
  readonly type: StreamName;
  readonly attempt: number;
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whether bytes of a stream were left out; undefined if the event does not say. */
export interface EndFacts {
  readonly bytesSeen: number;
  readonly bytesKept: number;
}

/** The last event: how the run ended. */
export interface EndEvent {
  readonly type: "end";
  readonly id: string;
  readonly outcome: Outcome;
  readonly receipt: Receipt | undefined;
  readonly stdout: EndFacts | undefined;
  readonly stderr: EndFacts | undefined;
}

export type RunEvent = StateEvent | ProgressEvent | OutputEvent | EndEvent;

/**
 * Undefined for an event whose name is not known: a newer gateway may send more of them.
 * Throws ClientError `answer_invalid` for a known one that is malformed.
 */
export function decodeEvent(event: SseEvent): RunEvent | undefined {
  switch (event.name) {
    case "state":
      return decodeState(json(event));
    case "progress":
      return { type: "progress", pulling: parseAnswer(Pulling, json(event)) };
    case "stdout":
    case "stderr":
      return decodeOutput(event.name, event.id, json(event));
    case "end":
      return decodeEnd(json(event));
    default:
      return undefined;
  }
}

function decodeState(data: Record<string, unknown>): StateEvent {
  return { type: "state", state: parseAnswer(RunState, data.state), attempt: count(data.attempt, "attempt") };
}

/** The attempt is the first number of the event's id, `<attempt>.<stdout offset>.<stderr offset>`. */
function decodeOutput(type: StreamName, id: string, data: Record<string, unknown>): OutputEvent {
  const match = /^(\d{1,15})\.\d{1,15}\.\d{1,15}$/.exec(id);
  if (!match) throw invalidAnswer(`the id ${JSON.stringify(id)} of an output event is not a position`);
  return { type, attempt: Number(match[1]), offset: count(data.offset, "offset"), bytes: bytesOf(data.base64) };
}

function decodeEnd(data: Record<string, unknown>): EndEvent {
  return {
    type: "end",
    id: parseAnswer(Run.shape.id, data.id),
    outcome: parseAnswer(Outcome, data.outcome),
    receipt: data.receipt === undefined ? undefined : parseAnswer(Receipt, data.receipt),
    stdout: facts(data.stdout),
    stderr: facts(data.stderr),
  };
}

function facts(value: unknown): EndFacts | undefined {
  if (!isObject(value)) return undefined;
  return { bytesSeen: count(value.bytesSeen, "bytesSeen"), bytesKept: count(value.bytesKept, "bytesKept") };
}

/** `Buffer.from` skips what is not base 64 without a word; writing it again shows whether it did. */
function bytesOf(value: unknown): Uint8Array<ArrayBuffer> {
  if (typeof value !== "string") throw invalidAnswer("an output event carries no base64");
  const bytes = Buffer.from(value, "base64");
  if (bytes.toString("base64") !== value) throw invalidAnswer("an output event's base64 is not base 64");
  return bytes;
}

function count(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value);
  throw invalidAnswer(`an event's ${name} is not a whole number`);
}

function json(event: SseEvent): Record<string, unknown> {
  try {
    const data: unknown = JSON.parse(event.data);
    if (isObject(data)) return data;
  } catch {
    // Both ways of being wrong get the same answer below.
  }
  throw invalidAnswer(`the data of a ${event.name} event is not a JSON object`);
}
