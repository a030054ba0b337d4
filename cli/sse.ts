// Server-sent events, from bytes as they come off a socket to whole events. Pure: no clock, no connection, no reconnecting.
// Source: WHATWG HTML, section 9.2 "Server-sent events".

import { invalidAnswer } from "./client-error.ts";

/** One dispatched event. `id` is the last id the stream has named, so it may stem from an earlier event. */
export interface SseEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string;
}

/** Takes the next bytes of the stream, however they are cut, and returns the events that these complete. */
export type SseParser = (bytes: Uint8Array) => SseEvent[];

/** The largest event, in UTF-16 units. It must exceed the base 64 of the largest kept stream (16 MiB) in one piece. */
export const MAX_EVENT_LENGTH = 32 * 1024 * 1024;

/**
 * A parser for one connection. The same bytes give the same events whatever the cuts; an event that the stream does
 * not complete is never given. Sample input: `id: 1.3.0\nevent: stdout\ndata: {"offset":0,"base64":"aGkK"}\n\n`.
 * Throws ClientError `answer_invalid` for an event longer than MAX_EVENT_LENGTH, since it would be held in memory.
 */
export function createSseParser(maxLength: number = MAX_EVENT_LENGTH): SseParser {
  const lines = createLineSplitter(maxLength);
  const event = createEventBuilder(maxLength);
  return (bytes) => lines(bytes).flatMap(event);
}

/** Lines end with LF, CR or CRLF. Parts of an unfinished line are kept apart, so a long one is joined only once. */
function createLineSplitter(maxLength: number): (bytes: Uint8Array) => string[] {
  const decoder = new TextDecoder(); // It drops a byte order mark and holds back a character that is cut in two.
  let parts: string[] = [];
  let length = 0;
  let afterCarriageReturn = false;
  return (bytes) => {
    let text = decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    if (afterCarriageReturn && text.startsWith("\n")) text = text.slice(1);
    afterCarriageReturn = text === "" ? false : text.endsWith("\r");
    const pieces = text.split(/\r\n|\n|\r/);
    const rest = pieces.pop() ?? "";
    const lines = pieces.map((piece, index) => (index === 0 ? parts.join("") + piece : piece));
    if (lines.length > 0) {
      parts = [];
      length = 0;
    }
    parts.push(rest);
    length += rest.length;
    if (length > maxLength) throw invalidAnswer(`a line of the event stream is longer than ${maxLength}`);
    return lines;
  };
}

function createEventBuilder(maxLength: number): (line: string) => SseEvent[] {
  let name = "";
  let data: string[] = [];
  let length = 0;
  let id = "";
  const dispatch = (): SseEvent[] => {
    const events = data.length === 0 ? [] : [{ name: name || "message", data: data.join("\n"), id }];
    name = "";
    data = [];
    length = 0;
    return events;
  };
  return (line) => {
    if (line === "") return dispatch();
    const [field, value] = splitField(line);
    if (field === "event") name = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "data") {
      data.push(value);
      length += value.length;
      if (length > maxLength) throw invalidAnswer(`an event is longer than ${maxLength}`);
    }
    return [];
  };
}

/** `"data: x"` → `["data", "x"]`: one space after the colon is not part of the value. A comment's field is empty. */
function splitField(line: string): [field: string, value: string] {
  const colon = line.indexOf(":");
  if (colon === -1) return [line, ""];
  const start = line.charAt(colon + 1) === " " ? colon + 2 : colon + 1;
  return [line.slice(0, colon), line.slice(start)];
}
