// A line of a batch's input, made ready: what Redis keeps of an item until it is fed (batch-scripts.ts), or why it cannot be read.

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { ItemKey } from "../../core/batch.ts";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { Outcome } from "../../core/run.ts";
import type { Entry } from "../dispatch/batch-store.ts";
import { checkRequest, type ItemRules, shapeOf } from "./item-request.ts";
import type { Line } from "./lines.ts";
import type { Template } from "./template.ts";

export class ItemReader {
  /** The shapes of what was read since they were last taken. */
  readonly #shapes = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #rules: ItemRules;
  readonly #template: Template | undefined;

  constructor(rules: ItemRules, template: Template | undefined) {
    this.#rules = rules;
    this.#template = template;
  }

  /** Undefined for a line that is empty. Never throws. */
  read({ number, bytes }: Line): Entry | undefined {
    if (bytes && isBlank(bytes)) return undefined;
    let key: string | undefined;
    try {
      const value = parseLine(bytes, this.#rules.maxLineBytes);
      key = keyOf(value);
      return {
        line: number,
        kind: "item",
        ...(this.#template ? this.#ofInput(this.#template, value) : this.#ofRequest(value)),
      };
    } catch (error) {
      return malformed(number, key, error);
    }
  }

  takeShapes(): Map<string, string> {
    const taken = new Map(this.#shapes);
    this.#shapes.clear();
    return taken;
  }

  #ofInput(template: Template, value: unknown): Pick<Entry, "text"> {
    const { key, body, stdin } = template.fill(value);
    return { text: textOf(this.#shape(template.shape), key, { body, stdin: Buffer.from(stdin), files: "" }) };
  }

  #ofRequest(value: unknown): Pick<Entry, "text" | "upload"> {
    const { key, ...rest } = Object(value) as { key?: string };
    const { request, stdin, files } = checkRequest(key === undefined ? value : rest, this.#rules);
    const text = textOf(this.#shape(shapeOf(request)), key, { body: JSON.stringify(request), stdin, files });
    return request.upload ? { text, upload: { id: request.upload.id, key } } : { text };
  }

  /** The name of a shape, of which most batches have one. */
  #shape(text: string): string {
    const name = this.#names.get(text) ?? createHash("sha256").update(text).digest("base64url").slice(0, SHAPE_LENGTH);
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    this.#names.set(text, name);
    this.#shapes.set(name, text);
    return name;
  }
}

/** An item that is none, and what comes of it. */
export function malformed(line: number, key: string | undefined, error: unknown): Entry {
  return { line, kind: "malformed", text: `${key ?? ""}\n${JSON.stringify(outcomeOf(error, line))}` };
}

const SHAPE_LENGTH = 22;
const MAX_NAMES = 1_000;

/** As `parse_item` of batch-feed-parts.ts reads it, less its place. */
function textOf(
  shape: string,
  key: string | undefined,
  { body, stdin, files }: { body: string; stdin: Buffer; files: string },
): string | Buffer {
  const head = `${shape} ${Buffer.byteLength(body)} ${stdin.length}\n${key ?? ""}\n${body}`;
  if (stdin.length === 0) return head + files;
  return Buffer.concat([Buffer.from(head), stdin, Buffer.from(files)]);
}

function parseLine(bytes: Buffer | undefined, maxBytes: number): unknown {
  if (!bytes) throw new MayflyError("malformed_body", `is longer than ${maxBytes} bytes (MAYFLY_MAX_BATCH_LINE)`);
  if (!isUtf8(bytes)) throw new MayflyError("malformed_body", "is not UTF-8");
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw new MayflyError("malformed_body", "is not JSON");
  }
}

function keyOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("key" in value)) return undefined;
  const parsed = ItemKey.safeParse(value.key);
  if (!parsed.success) throw new MayflyError("invalid_field", `key ${parsed.error.issues[0]?.message}`);
  return parsed.data;
}

const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0d]);
const isBlank = (bytes: Buffer) => bytes.every((byte) => SPACES.has(byte));

function outcomeOf(error: unknown, line: number): Outcome {
  if (!isMayflyError(error)) throw error;
  return { kind: "rejected", code: error.reason, message: `line ${line}: ${error.message}` };
}
