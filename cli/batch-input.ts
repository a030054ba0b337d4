// A batch's lines on their way to the gateway: some in each request, one request at a time, until all are acknowledged.
//
// One idea: what was sent is kept until it is safe, which is one piece, and the gateway says how far that is. So a connection that breaks,
// or a gateway that dies, costs a question and the rest of one piece; no line is lost, and none counts twice.

import { type Batch, BatchAck } from "../core/batch.ts";
import { parseAnswer } from "./answers.ts";
import { interrupted, isClientError, refused } from "./client-error.ts";
import type { Send } from "./http.ts";
import { jsonLinesOf } from "./json-lines.ts";
import { createPatience, pause } from "./patience.ts";

export interface InputOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told of each line that could not be read, by its number. */
  readonly onMalformed?: ((line: number, message: string) => void) | undefined;
  /** Told when it is known. */
  readonly onBatch?: ((id: string) => void) | undefined;
}

/** Lines without their ends, in pieces that are sent as they come. */
export type Pieces = AsyncIterable<readonly string[]> | Iterable<readonly string[]>;

export interface Beginning {
  /** Of a batch that is there already. */
  readonly id?: string;
  /** How many lines of it are acknowledged. */
  readonly line: number;
  /** Of one that is not. */
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly idempotencyKey?: string;
}

const RETRIES = 8;
const STEP_MS = 200;
/** A batch that holds back as much as it may is asked again after this. */
const FULL_MS = 1_000;

/** Sends everything and closes the batch, if `close` says so. Throws ClientError if the gateway refuses or stays away; `batch_closed` if it was stopped. */
export async function sendLines(
  send: Send,
  beginning: Beginning,
  pieces: Pieces,
  { close, ...options }: InputOptions & { close: boolean },
): Promise<Batch> {
  const input = new Input(send, beginning, options);
  for await (const piece of pieces) await input.send(piece, false);
  return input.send([], close);
}

class Input {
  readonly #send: Send;
  readonly #beginning: Beginning;
  readonly #options: InputOptions;
  #id: string | undefined;
  /** So many lines are safe. */
  #line: number;
  /** Up to here malformed lines were told of. */
  #told: number;

  constructor(send: Send, beginning: Beginning, options: InputOptions) {
    this.#send = send;
    this.#beginning = beginning;
    this.#options = options;
    this.#id = beginning.id;
    this.#line = beginning.line;
    this.#told = beginning.line;
  }

  async send(piece: readonly string[], close: boolean): Promise<Batch> {
    const { signal } = this.#options;
    const before = this.#line;
    const patience = createPatience({ limit: RETRIES, stepMs: STEP_MS, signal });
    for (;;) {
      const known = this.#line;
      try {
        return await this.#post(piece.slice(known - before), close);
      } catch (error) {
        signal?.throwIfAborted();
        if (this.#line > known) patience.progress();
        if (isClientError(error) && error.reason === "queue_full") await pause(FULL_MS, signal);
        else await patience.afterFailure(error);
      }
    }
  }

  async #post(lines: readonly string[], close: boolean): Promise<Batch> {
    const { signal } = this.#options;
    const body = lines.map((line) => `${line}\n`).join("");
    const headers = { "content-type": "application/x-ndjson", accept: "application/x-ndjson" };
    const common = { method: "POST", body, signal } as const;
    const response =
      this.#id === undefined
        ? await this.#send({ ...common, path: "/v1/batches", ...this.#opening(headers, close) })
        : await this.#send({
            ...common,
            headers,
            path: `/v1/batches/${this.#id}/items`,
            query: { from: this.#line, close: String(close) },
          });
    for await (const value of jsonLinesOf(response)) {
      const end = this.#hear(parseAnswer(BatchAck, value));
      if (end) return end;
    }
    throw interrupted("the answer ended before the batch's lines were all acknowledged");
  }

  #opening(headers: Readonly<Record<string, string>>, close: boolean) {
    const { query = {}, idempotencyKey } = this.#beginning;
    const key = idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey };
    return { query: { ...query, close: String(close) }, headers: { ...headers, ...key } };
  }

  #hear(ack: BatchAck): Batch | undefined {
    if ("error" in ack) throw refused(Number(ack.error.status ?? 500), ack.error, undefined);
    if ("end" in ack) return ack.end;
    if ("malformed" in ack) {
      if (ack.malformed > this.#told) this.#options.onMalformed?.(ack.malformed, ack.message);
      this.#told = Math.max(this.#told, ack.malformed);
      return undefined;
    }
    if ("batch" in ack && this.#id === undefined) {
      this.#id = ack.batch;
      this.#options.onBatch?.(ack.batch);
    }
    this.#line = Math.max(this.#line, ack.line);
    return undefined;
  }
}
