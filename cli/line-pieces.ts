// A stream of text as lines, a piece for each that comes: a line is handed on as soon as it is whole, and many that come at once together.

import type { Readable } from "node:stream";

/** A line's end may be LF or CRLF; the last may have none. Nothing is read ahead of the consumer but what the stream holds by itself. */
export async function* piecesOf(stream: Readable): AsyncGenerator<string[], void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes as Uint8Array, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) yield lines.map(withoutReturn);
  }
  if (rest !== "") yield [withoutReturn(rest)];
}

const withoutReturn = (line: string): string => (line.endsWith("\r") ? line.slice(0, -1) : line);
