// Shapes that cross HTTP but never Redis: problems, lists, readiness. What a run is, core/run.ts says.

import { z } from "@hono/zod-openapi";
import { CODES, type ErrorReason, REASONS } from "../../core/errors.ts";
import { RUN_ID_PATTERN } from "../../core/ids.ts";
import { Run } from "../../core/run.ts";

const reasons = Object.keys(REASONS) as [ErrorReason, ...ErrorReason[]];

export const ProblemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(CODES),
    reason: z.enum(reasons),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details." });

export const RunParams = z.object({
  id: z
    .string()
    .regex(RUN_ID_PATTERN, "is not a run's id")
    .meta({ param: { name: "id", in: "path" }, example: "run_01k3zq5w7h8m2n4p6r8t0v2x4z" }),
});

export const OutputParams = RunParams.extend({
  stream: z.enum(["stdout", "stderr"]).meta({ param: { name: "stream", in: "path" } }),
});

const MAX_PAGE = 500;

export const RunList = z
  .object({
    runs: z.array(Run),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "RunList" });

export const CancelQuery = z.strictObject({
  force: z
    .enum(["true", "false"])
    .default("false")
    .meta({ description: "`true`: a program is killed at once, without SIGTERM and a grace." }),
});

export const StdinQuery = z.strictObject({
  close: z.enum(["true", "false"]).default("false").meta({ description: "`true`: these bytes are the last." }),
});

export const Readiness = z
  .object({
    ready: z.boolean(),
    reasons: z.array(z.object({ check: z.string(), message: z.string() })),
    hosts: z.int().meta({ description: "Worker hosts that are alive." }),
  })
  .meta({ id: "Readiness" });

export const Health = z.object({ status: z.literal("ok"), version: z.string() }).meta({ id: "Health" });

/** An answer of the OpenAPI document that is a problem. */
export const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: ProblemSchema } },
});
/** An answer that is JSON of a shape. */
export const json = <T extends z.ZodType>(schema: T, description: string, example?: z.infer<T>) => ({
  description,
  content: { "application/json": { schema, ...(example === undefined ? {} : { example }) } },
});

/** The query of a list in pages. */
export const page = (cursor: RegExp) =>
  z.strictObject({
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(MAX_PAGE)
      .default(100)
      .meta({
        description: `How many, from 1 to ${MAX_PAGE}; 100 without it. A page may be shorter, with a cursor all the same.`,
      }),
    cursor: z
      .string()
      .regex(cursor, "is not a cursor of this list")
      .optional()
      .meta({ description: "`next` of the page before." }),
  });

/** What every call may answer. */
export const FAILURES = {
  400: problem("A field is unknown, of the wrong type or impossible; `errors` names each."),
  401: problem("The key is missing or unknown."),
  403: problem(
    "The key lacks the scope that the call wants; or a gateway without keys is called by another name than its loopback one, or from a page of elsewhere.",
  ),
  500: problem("A fault of Mayfly's own, logged under this request's id."),
  503: problem("Redis is away; come back after `Retry-After`."),
};

export const NOT_FOUND = problem("There is no such run, or it is another tenant's.");
