// How lists of runs are asked for.

import { z } from "@hono/zod-openapi";
import { TENANT_PATTERN } from "../../core/api-key.ts";
import { RUN_ID_PATTERN } from "../../core/ids.ts";
import { RunState } from "../../core/run.ts";

/** Each costs a look at every run that the smallest of them has. */
const MAX_LABELS = 8;
const MAX_PAGE = 500;

const Label = z.string().regex(/^[^=]+=/, "is not of the form NAME=VALUE");

const Labels = z
  .union([Label, z.array(Label).max(MAX_LABELS)], {
    error: `is not of the form NAME=VALUE, or is there more than ${MAX_LABELS} times`,
  })
  .transform((labels) =>
    [labels].flat().map((text): [string, string] => {
      const at = text.indexOf("=");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  )
  .meta({
    description: `Only runs with this label, as NAME=VALUE; up to ${MAX_LABELS} times, for runs that have all of them. A name that itself has a = cannot be looked for.`,
    example: "build=17",
  });

const moment = (says: string) =>
  z.iso.datetime({ offset: true, error: "is not a moment such as 2026-01-31T08:00:00Z" }).meta({ description: says });

const filters = {
  state: RunState.optional().meta({ description: "Only runs in this state: queued, starting, running or finished." }),
  label: Labels.optional(),
  image: z
    .string()
    .min(1)
    .max(512)
    .meta({ description: "Only runs of this image, named as it was when they were asked for." })
    .optional(),
  since: moment("Only runs that were accepted at this moment or later.").optional(),
  until: moment("Only runs that were accepted before this moment.").optional(),
  tenant: z
    .string()
    .refine((name) => name === "*" || TENANT_PATTERN.test(name), "is neither a tenant's name nor *")
    .meta({ description: "Another tenant's runs, or those of all (`*`). Wants the scope admin." })
    .optional(),
};

export const CountQuery = z.strictObject(filters);
export type FilterQuery = z.infer<typeof CountQuery>;

/** The query of a list of runs in pages. */
export const pageOfRuns = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_PAGE)
    .default(50)
    .meta({
      description: `How many, from 1 to ${MAX_PAGE}; 50 without it. A page may be shorter, with a cursor all the same.`,
    }),
  cursor: z
    .string()
    .regex(RUN_ID_PATTERN, "is not a cursor of this list")
    .optional()
    .meta({ description: "`next` of the page before." }),
};

export const ListQuery = z.strictObject({ ...filters, ...pageOfRuns });

export const RunCounts = z
  .object({
    total: z.int(),
    states: z.record(RunState, z.int()),
    isComplete: z.boolean().meta({
      description: "False if there were too many runs to look through: then they are what was found among the newest.",
    }),
  })
  .meta({ id: "RunCounts" });
