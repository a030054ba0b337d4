// Batches, through the gateway: filled from lines, watched, their results read.
//
//   const batch = await mayfly.batches.create({ template: { image: "busybox", command: ["echo", "{}"] } }, [["one"], ["two"]]);
//   for await (const result of mayfly.batches.results(batch.id)) { … }

import { randomUUID } from "node:crypto";
import { Batch, type BatchOptions, BatchPage, BatchResult } from "../core/batch.ts";
import { parseAnswer } from "./answers.ts";
import { type InputOptions, type Pieces, sendLines } from "./batch-input.ts";
import { interrupted, refused } from "./client-error.ts";
import { type Call, readJson, type Send } from "./http.ts";
import { jsonLinesOf } from "./json-lines.ts";
import { createPatience } from "./patience.ts";

interface Options {
  readonly signal?: AbortSignal | undefined;
}

export interface ResultOptions extends Options {
  readonly order?: "completion" | "input" | undefined;
  /** How many results of this order were had before. */
  readonly from?: number | undefined;
  /** Until the batch is over; true unless told otherwise. */
  readonly follow?: boolean | undefined;
  /** Bytes of each stream in a result. */
  readonly output?: number | undefined;
}

/** What a batch may be made with in its address; all else stands in its first line. */
export type BatchQuery = Readonly<Record<string, string | number | undefined>>;

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface BatchClient {
  /** Makes a batch of lines of JSON and closes it. Resolves when all are acknowledged, however often the connection breaks. */
  run(pieces: Pieces, options?: InputOptions & { query?: BatchQuery }): Promise<Batch>;
  /** Makes a batch without items, which stays open: its first line is acknowledged. */
  open(batch: BatchOptions, options?: Options): Promise<Batch>;
  /** More lines, after so many that were acknowledged. */
  send(id: string, line: number, pieces: Pieces, options: InputOptions & { close: boolean }): Promise<Batch>;
  inspect(id: string, options?: Options): Promise<Batch>;
  /** Newest first. */
  list(options?: Options): AsyncGenerator<Batch, void>;
  /** Nothing more is fed into the queue; what is there goes on. */
  pause(id: string, options?: Options): Promise<Batch>;
  resume(id: string, options?: Options): Promise<Batch>;
  /** The batch has ended only once its state says so. */
  cancel(id: string, options?: Options): Promise<Batch>;
  /** Each once and in order, over as many connections as it takes; nothing is read ahead of the consumer. */
  results(id: string, options?: ResultOptions): AsyncGenerator<BatchResult, void>;
}

const PAGE = 100;
const RECONNECTS = 8;
const STEP_MS = 200;

export function createBatchClient(send: Send): BatchClient {
  const ask = async (method: Call["method"], path: string, { signal }: Options = {}) =>
    // Each of these may be obeyed twice.
    parseAnswer(Batch, await readJson(await send({ method, path, signal, isRepeatable: true })));
  const inspect: BatchClient["inspect"] = (id, options) => ask("GET", pathOf(id), options);
  return {
    run: (pieces, { query, ...options } = {}) =>
      sendLines(send, { line: 0, query: query ?? {}, idempotencyKey: randomUUID() }, pieces, {
        ...options,
        close: true,
      }),
    open: (batch, options = {}) =>
      sendLines(send, { line: 0, idempotencyKey: randomUUID() }, [[JSON.stringify({ batch })]], {
        ...options,
        close: false,
      }),
    send: (id, line, pieces, options) => sendLines(send, { id, line }, pieces, options),
    inspect,
    list: (options) => list(send, options),
    pause: (id, options) => ask("POST", `${pathOf(id)}/pause`, options),
    resume: (id, options) => ask("POST", `${pathOf(id)}/resume`, options),
    cancel: (id, options) => ask("POST", `${pathOf(id)}/cancel`, options),
    results: (id, options) => results(send, inspect, id, options),
  };
}

const pathOf = (id: string): string => `/v1/batches/${encodeURIComponent(id)}`;

async function* list(send: Send, { signal }: Options = {}): AsyncGenerator<Batch, void> {
  let cursor: string | undefined;
  do {
    const query = { limit: PAGE, cursor };
    const page = parseAnswer(
      BatchPage,
      await readJson(await send({ method: "GET", path: "/v1/batches", query, signal })),
    );
    yield* page.batches;
    cursor = page.next;
  } while (cursor !== undefined);
}

/** An answer that has ended is whole only if it has all: a gateway that stops ends those that it follows. */
async function* results(
  send: Send,
  inspect: BatchClient["inspect"],
  id: string,
  { order = "completion", from = 0, follow = true, output, signal }: ResultOptions = {},
): AsyncGenerator<BatchResult, void> {
  const patience = createPatience({ limit: RECONNECTS, stepMs: STEP_MS, signal });
  for (let had = from; ; ) {
    try {
      const query = { order, from: had, follow: String(follow), output };
      const path = `${pathOf(id)}/results`;
      const response = await send({
        method: "GET",
        path,
        query,
        headers: { accept: "application/x-ndjson" },
        signal,
        once: true,
      });
      for await (const value of jsonLinesOf(response)) {
        const result = resultOf(value);
        had++;
        patience.progress();
        yield result;
      }
      if (!follow) return;
      const { state, counts } = await inspect(id, { signal });
      if ((state === "finished" || state === "cancelled") && had >= counts.total) return;
      throw interrupted("the results ended before the batch did");
    } catch (error) {
      signal?.throwIfAborted();
      await patience.afterFailure(error);
    }
  }
}

function resultOf(value: unknown): BatchResult {
  if (typeof value === "object" && value !== null && "error" in value) throw refused(500, value.error, undefined);
  return parseAnswer(BatchResult, value);
}
