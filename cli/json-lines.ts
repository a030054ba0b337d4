// Lines of JSON (NDJSON) out of an answer's bytes; empty ones are only there to keep the connection.

import { chunksOf } from "./body.ts";
import { invalidAnswer } from "./client-error.ts";

/** Each line as a value, none read ahead of the consumer. Throws ClientError for a line that is not JSON, or if the connection breaks. */
export async function* jsonLinesOf(response: Response): AsyncGenerator<unknown, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of chunksOf(response)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield parse(line);
  }
  if (rest !== "") yield parse(rest);
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw invalidAnswer("a line of the gateway's answer is not JSON", { cause });
  }
}
