// How far a follower has come in a run's output: the one place that decides which bytes are new. Pure.
//
// A connection may break anywhere and the next one may repeat or, were the gateway wrong, skip bytes. Every event says
// where its bytes belong, so repeated ones are cut off here, and skipped ones are noticed.

import { interrupted } from "./client-error.ts";
import type { OutputEvent, RunEvent } from "./run-event.ts";

export interface Position {
  /** For `Last-Event-ID`; undefined before the first output. */
  readonly id: string | undefined;
  /**
   * The event with only what is new in it, or undefined if nothing is. An attempt that is over has nothing new to say.
   * Throws ClientError (of the kind that is tried again) if bytes before these are missing.
   */
  advance(event: RunEvent): RunEvent | undefined;
}

export function createPosition(): Position {
  let attempt = 0;
  let state = "";
  let offsets = { stdout: 0, stderr: 0 };
  let hasOutput = false;

  /** A later attempt starts from nothing. False if the event is of an earlier one. */
  const enter = (next: number): boolean => {
    if (next > attempt) {
      attempt = next;
      state = "";
      offsets = { stdout: 0, stderr: 0 };
    }
    return next === attempt;
  };

  const advanceOutput = (event: OutputEvent): OutputEvent | undefined => {
    const known = offsets[event.type] - event.offset;
    if (known < 0) throw interrupted(`the event stream left out ${-known} bytes of ${event.type}`);
    hasOutput = true;
    if (known >= event.bytes.length) return undefined;
    offsets[event.type] = event.offset + event.bytes.length;
    return known === 0 ? event : { ...event, offset: event.offset + known, bytes: event.bytes.subarray(known) };
  };

  return {
    get id() {
      return hasOutput ? `${attempt}.${offsets.stdout}.${offsets.stderr}` : undefined;
    },
    advance(event) {
      if (event.type === "end" || event.type === "progress") return event;
      if (!enter(event.attempt)) return undefined;
      if (event.type !== "state") return advanceOutput(event);
      if (event.state === state) return undefined;
      state = event.state;
      return event;
    },
  };
}
