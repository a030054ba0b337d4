// Batches as they cross HTTP: many runs that are asked for at once, and what is told of them. See request.ts for one run.

import { z } from "zod";
import { BATCH_ID_PATTERN, MAX_BATCH_INDEX, RUN_ID_PATTERN } from "./ids.ts";
import { BOUNDS, RunRequest } from "./request.ts";
import { Outcome } from "./run.ts";
import { Webhook } from "./webhook.ts";

export const BATCH_BOUNDS = {
  nameLength: 256,
  keyLength: 256,
  /** An id has room for so many. */
  items: MAX_BATCH_INDEX + 1,
  /** Bytes of a template's files, as JSON, and of its stdin: each of its runs has a copy, and keeps it as a dead letter. */
  templateInputBytes: 64 * 1024,
  failures: { min: 0, max: MAX_BATCH_INDEX },
  /** What is told of each stream of a run in a line of results; the rest is to be had from the run. */
  resultOutput: { min: 0, max: 1024 * 1024, default: 64 * 1024 },
} as const;

/** A word of the caller's own for one item. Control characters would break the lines that it stands in. */
export const ItemKey = z
  .string()
  .min(1)
  .max(BATCH_BOUNDS.keyLength)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  .regex(/^[^\u0000-\u001f]*$/, "must not contain control characters")
  .meta({ description: "The caller's own word for the item, given back with its result.", example: "customer-17" });

export const OnFailure = z
  .union(
    [
      z.enum(["continue", "stop_on_first"]),
      z.strictObject({ maxFailures: z.int().min(BATCH_BOUNDS.failures.min).max(BATCH_BOUNDS.failures.max) }),
    ],
    { error: 'is not "continue", "stop_on_first" or {"maxFailures": N}' },
  )
  .meta({
    description:
      "When the batch stops: never; at the first failure; or once more than N have failed. Everything but an exit with 0 is a failure, a line that cannot be read as well. A batch that stops feeds nothing more and cancels what waits; what runs ends by itself.",
    default: "continue",
  });

export type OnFailure = z.infer<typeof OnFailure>;

const OPTIONS = {
  name: z.string().min(1).max(BATCH_BOUNDS.nameLength).meta({ description: "For people.", example: "nightly" }),
  labels: RunRequest.shape.labels.unwrap(),
  onFailure: OnFailure,
  concurrency: z
    .int()
    .min(BOUNDS.concurrency.min)
    .max(BOUNDS.concurrency.max)
    .meta({ description: "So many of its items are in the queue or on hosts at once." }),
  webhook: Webhook.meta({ description: "Where a `batch.finished` is sent once the batch is over." }),
  stdin: z
    .boolean()
    .meta({ description: "With a template: each input is also what its run reads from stdin.", default: false }),
};

export const BatchOptions = z
  .strictObject({ ...OPTIONS, template: RunRequest.optional() })
  .partial()
  .meta({
    id: "BatchOptions",
    description:
      'The first line of a batch, as {"batch": …}. With a template each of the other lines is an input: text, or {input, key}; its files and stdin have at most 64 KiB together, and an upload is for more. Without, each is a run\'s request, with a `key` if one likes.',
  });

export type BatchOptions = z.infer<typeof BatchOptions>;

export const BatchInput = z.union([z.string(), z.strictObject({ input: z.string(), key: ItemKey.optional() })], {
  error: 'is not text or {"input": text, "key": text}',
});

export type BatchInput = z.infer<typeof BatchInput>;

export const BatchRequest = z
  .strictObject({ ...OPTIONS })
  .partial()
  .extend({ template: RunRequest, inputs: z.array(BatchInput).max(BATCH_BOUNDS.items) })
  .meta({
    id: "BatchRequest",
    description:
      "A template, and what is put in the place of each `{}` in its command, run by run. The template's files and stdin have at most 64 KiB together; an upload is for more.",
  });

export type BatchRequest = z.infer<typeof BatchRequest>;

export const BatchState = z
  .enum(["open", "running", "paused", "stopping", "finished", "cancelled"])
  .meta({ id: "BatchState", description: "open: it takes more items, and runs those it has." });

export type BatchState = z.infer<typeof BatchState>;

const count = (description: string) => z.int().meta({ description });

export const Batch = z
  .strictObject({
    id: z.string().regex(BATCH_ID_PATTERN),
    name: z.string().optional(),
    labels: z.record(z.string(), z.string()),
    state: BatchState,
    createdAt: z.string(),
    finishedAt: z.string().optional(),
    lines: count("Of its input, so many were acknowledged."),
    counts: z.strictObject({
      total: count("Items that were accepted, lines that could not be read among them."),
      waiting: count("Held back by the batch: not in the queue yet."),
      queued: count("In the queue."),
      running: count("On hosts, starting or running."),
      succeeded: count("Exited with 0."),
      failed: count("Ended in any other way."),
      cancelled: count("Cancelled, or never begun because the batch was stopped."),
    }),
    malformed: count("Lines that could not be read; they are among those that failed."),
    progress: z.number().meta({ description: "Of the items that were accepted so many are over: from 0 to 1." }),
    estimatedSeconds: z.int().optional().meta({ description: "Until all are over, by the pace of the last minute." }),
    onFailure: OnFailure,
    concurrency: z.int().optional(),
    stopped: z.enum(["failures", "cancel"]).optional().meta({ description: "Why it was stopped, if it was." }),
  })
  .meta({ id: "Batch" });

export type Batch = z.infer<typeof Batch>;

export const BatchPage = z
  .strictObject({
    batches: z.array(Batch),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "BatchPage" });

export type BatchPage = z.infer<typeof BatchPage>;

const ResultOutput = z.strictObject({
  encoding: z.enum(["utf8", "base64"]),
  data: z.string(),
  bytesSeen: z.int(),
  truncated: z.boolean().meta({ description: "There is more, which is to be had from the run or was not kept." }),
});

export const BatchResult = z
  .strictObject({
    index: z.int().meta({ description: "From 0, in the order of the input." }),
    key: z.string().optional(),
    run: z.string().regex(RUN_ID_PATTERN).optional().meta({ description: "Missing if none was made of the item." }),
    outcome: Outcome,
    stdout: ResultOutput.optional(),
    stderr: ResultOutput.optional(),
    receiptDigest: z
      .string()
      .optional()
      .meta({ description: "SHA-256 of the receipt's JSON as the run has it.", example: "sha256:…" }),
  })
  .meta({ id: "BatchResult", description: "A line of a batch's results." });

export type BatchResult = z.infer<typeof BatchResult>;

/** The body of a delivery. */
export const BatchFinished = z
  .strictObject({ type: z.literal("batch.finished"), timestamp: z.string(), data: Batch })
  .meta({ id: "BatchFinished" });

export type BatchFinished = z.infer<typeof BatchFinished>;

/** A line of the answer while items are sent: how far they are safe, what could not be read, and the end. */
export const BatchAck = z
  .union([
    z.strictObject({ batch: z.string(), line: z.int(), accepted: z.int() }),
    z.strictObject({ line: z.int(), accepted: z.int() }),
    z.strictObject({ malformed: z.int(), message: z.string() }),
    z.strictObject({ end: Batch }),
    z.strictObject({ error: z.looseObject({ reason: z.string(), detail: z.string() }) }),
  ])
  .meta({ id: "BatchAck" });

export type BatchAck = z.infer<typeof BatchAck>;
