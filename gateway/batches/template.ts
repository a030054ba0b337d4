// A request with `{}` in its command, and what it becomes with an input in their place.
//
// It is kept as pieces of its own JSON. Between them goes the input, as JSON writes it in a string: so that the script which feeds an item
// has its request by joining strings.

import { randomBytes } from "node:crypto";
import { BatchInput } from "../../core/batch.ts";
import { MayflyError } from "../../core/errors.ts";
import { argumentBytes, BOUNDS, type RunRequest } from "../../core/request.ts";
import { invalid, shapeOf } from "./item-request.ts";

const PLACE = "{}";

export interface Filled {
  readonly key: string | undefined;
  readonly body: string;
  readonly stdin: string;
}

export class Template {
  readonly pieces: readonly string[];
  readonly shape: string;
  readonly #toStdin: boolean;
  /** What the inputs in one command may have together. */
  readonly #roomBytes: number;

  /** Throws `invalid_field` if inputs would go nowhere. The request must have been checked. */
  constructor(request: RunRequest, toStdin: boolean) {
    const mark = randomBytes(16).toString("hex");
    const command = request.command?.map((argument) => argument.replaceAll(PLACE, mark));
    this.pieces = JSON.stringify(command ? { ...request, command } : request).split(mark);
    this.shape = shapeOf(request);
    this.#toStdin = toStdin;
    this.#roomBytes = BOUNDS.argumentBytes - argumentBytes(request) + PLACE.length * this.#places;
    if (this.#places === 0 && !toStdin)
      throw new MayflyError(
        "invalid_field",
        "template.command has no {}, and stdin is not true: inputs would go nowhere",
      );
  }

  get #places(): number {
    return this.pieces.length - 1;
  }

  /** Throws `invalid_field`. */
  fill(value: unknown): Filled {
    const parsed = BatchInput.safeParse(value);
    if (!parsed.success) throw invalid(parsed.error);
    const { input, key } = typeof parsed.data === "string" ? { input: parsed.data, key: undefined } : parsed.data;
    const bytes = Buffer.byteLength(input);
    if (this.#places > 0 && input.includes("\0"))
      throw new MayflyError("invalid_field", "input must not contain a NUL");
    if (bytes * this.#places > this.#roomBytes) {
      const message = `input has ${bytes} bytes: command and env together more than ${BOUNDS.argumentBytes}`;
      throw new MayflyError("invalid_field", message);
    }
    const body = this.#places === 0 ? "" : JSON.stringify(input).slice(1, -1);
    return { key, body, stdin: this.#toStdin ? input : "" };
  }
}
