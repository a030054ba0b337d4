// A batch's lines on their way to a gateway, and its answers'.

import type { Batch } from "../../core/batch.ts";

export interface Ack {
  readonly batch?: string;
  readonly line?: number;
  readonly accepted?: number;
  readonly malformed?: number;
  readonly message?: string;
  readonly end?: Batch;
  readonly error?: { readonly reason: string; readonly detail: string };
}

export function linesOf(lines: readonly string[], headers: Readonly<Record<string, string>> = {}): RequestInit {
  const body = lines.map((line) => `${line}\n`).join("");
  return { body, headers: { "content-type": "application/x-ndjson", ...headers } };
}

export async function readLines<T>(answer: Response): Promise<T[]> {
  return jsonLines(await answer.text());
}

export function jsonLines<T>(text: string): T[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

/** The batch, as the last line of an answer has it. */
export function endOf(acks: readonly Ack[]): Batch {
  const end = acks.at(-1)?.end;
  if (!end) throw new Error(`the last line is ${JSON.stringify(acks.at(-1))}`);
  return end;
}
