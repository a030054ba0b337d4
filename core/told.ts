// What a gateway is told of a run that has finished: its id and, if it is small, all of it, so that an answer needs no question.
//
// The message is one line of JSON, `[id]` or `[id, bytes of stdout, bytes of stderr, [field, value, …]]`, and then the kept bytes
// of both streams, raw. Best effort as every message: whoever gets none reads the record, which says the same.

import { parseFlatRecord, type RunRecord } from "./record.ts";

/** Of a run with more output or a longer request than this only the id is told. */
export const TOLD_BYTES = 64 * 1024;

export interface Told {
  readonly id: string;
  readonly whole?: { readonly record: RunRecord; readonly stdout: Buffer; readonly stderr: Buffer };
}

const NEWLINE = 0x0a;

/** Undefined if it is of a form that is not understood here. */
export function parseTold(message: Buffer): Told | undefined {
  try {
    const end = message.indexOf(NEWLINE);
    const [id, out, err, flat] = JSON.parse(message.toString("utf8", 0, end === -1 ? undefined : end));
    if (typeof id !== "string") return undefined;
    if (flat === undefined) return { id };
    const record = parseFlatRecord(flat);
    const middle = end + 1 + out;
    if (record?.id !== id || middle + err !== message.length) return undefined;
    return { id, whole: { record, stdout: message.subarray(end + 1, middle), stderr: message.subarray(middle) } };
  } catch {
    return undefined;
  }
}
