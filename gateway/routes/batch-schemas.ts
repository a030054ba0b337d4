// What is asked of batches in paths, queries and headers.

import { z } from "@hono/zod-openapi";
import { BATCH_BOUNDS, type BatchOptions, BatchOptions as Options } from "../../core/batch.ts";
import { BATCH_ID_PATTERN } from "../../core/ids.ts";
import { invalid } from "../batches/item-request.ts";
import { ORDERS } from "../dispatch/batch-results.ts";

export const BatchParams = z.object({
  id: z
    .string()
    .regex(BATCH_ID_PATTERN, "is not a batch's id")
    .meta({ param: { name: "id", in: "path" }, example: "bat_01k3zq5w7h8m2n4p6r8t0v" }),
});

const whole = (max: number) => z.coerce.number().int().min(0).max(max);

export const OptionsQuery = z.strictObject({
  name: z.string().optional(),
  onFailure: z.enum(["continue", "stop_on_first"]).optional(),
  maxFailures: whole(BATCH_BOUNDS.failures.max).optional().meta({ description: "In the place of onFailure." }),
  concurrency: z.coerce.number().optional(),
  webhook: z.string().optional().meta({ description: "A URL." }),
  close: z
    .enum(["true", "false"])
    .default("true")
    .meta({ description: "`false`: more items will come, by /v1/batches/{id}/items." }),
});

export const ItemsQuery = z.strictObject({
  from: whole(Number.MAX_SAFE_INTEGER).default(0).meta({
    description:
      "The `line` that was acknowledged last: the body's first line is the next. Lines that are there already are passed over.",
  }),
  close: z.enum(["true", "false"]).default("false").meta({ description: "`true`: no more items come after these." }),
});

export const ResultsQuery = z.strictObject({
  order: z.enum(ORDERS).default("completion").meta({ description: "`input` waits for the items before." }),
  from: whole(BATCH_BOUNDS.items).default(0).meta({ description: "How many results of this order the caller has." }),
  follow: z.enum(["true", "false"]).default("false").meta({ description: "`true`: until the batch is over." }),
  output: whole(BATCH_BOUNDS.resultOutput.max)
    .default(BATCH_BOUNDS.resultOutput.default)
    .meta({
      description: `Bytes of each stream in a line, at most ${BATCH_BOUNDS.resultOutput.max}; ${BATCH_BOUNDS.resultOutput.default} without it.`,
    }),
});

/** Throws `invalid_field`. */
export function optionsOf({ close: _, maxFailures, webhook, ...query }: z.infer<typeof OptionsQuery>): BatchOptions {
  const parsed = Options.safeParse({
    ...query,
    ...(maxFailures === undefined ? {} : { onFailure: { maxFailures } }),
    ...(webhook === undefined ? {} : { webhook: { url: webhook } }),
  });
  if (!parsed.success) throw invalid(parsed.error);
  return parsed.data;
}
