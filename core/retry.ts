// When a run that has ended badly is tried again, and after how long. See ending-parts.ts for how it is counted.

import { z } from "zod";
import { duration } from "./limits.ts";
import type { Outcome } from "./run.ts";
import { parseDuration } from "./units.ts";

/** The endings that a policy may name: all but a cancellation, which is what was asked for. `exited` is one that is not 0. */
export const RETRIED = ["exited", "signaled", "timed_out", "oom_killed", "lost", "rejected"] as const;

export const RETRY_BOUNDS = {
  attempts: { min: 1, max: 20 },
  initialMs: { min: 0, max: 3_600_000 },
  factor: { min: 1, max: 10 },
  maxMs: { min: 0, max: 86_400_000 },
} as const;

/** What holds where the policy says nothing. What was rejected would most often be rejected again. */
export const RETRY_DEFAULTS = {
  on: ["exited", "signaled", "timed_out", "oom_killed", "lost"],
  initial: "1s",
  factor: 2,
  max: "5m",
  jitter: true,
} as const;

/** Of so many attempts that were not the last it is remembered how they ended. */
export const KEPT_ATTEMPTS = 10;

const Backoff = z
  .strictObject({
    initial: duration(RETRY_BOUNDS.initialMs, "Before the second attempt.", RETRY_DEFAULTS.initial),
    factor: z
      .number()
      .min(RETRY_BOUNDS.factor.min)
      .max(RETRY_BOUNDS.factor.max)
      .meta({ description: "By which it grows from one attempt to the next.", default: RETRY_DEFAULTS.factor }),
    max: duration(RETRY_BOUNDS.maxMs, "What it grows to.", RETRY_DEFAULTS.max),
    jitter: z.boolean().meta({
      description:
        "Between half of it and all of it, at random, so that runs that failed at once do not come back at once.",
      default: RETRY_DEFAULTS.jitter,
    }),
  })
  .partial()
  .superRefine(({ initial = RETRY_DEFAULTS.initial, max = RETRY_DEFAULTS.max }, context) => {
    if ((parseDuration(initial) ?? 0) > (parseDuration(max) ?? Number.POSITIVE_INFINITY))
      context.addIssue({ code: "custom", path: ["initial"], message: "is more than backoff.max" });
  });

export const Retry = z
  .strictObject({
    attempts: z
      .int()
      .min(RETRY_BOUNDS.attempts.min)
      .max(RETRY_BOUNDS.attempts.max)
      .meta({ description: "How many attempts in all, the first one counted.", example: 3 }),
    on: z
      .array(z.enum(RETRIED))
      .min(1)
      .max(RETRIED.length)
      .refine((kinds) => new Set(kinds).size === kinds.length, "names an outcome twice")
      .meta({
        description:
          "Outcomes after which there is another attempt; `exited` is any code but 0. Never after the queue's clock.",
        default: [...RETRY_DEFAULTS.on],
      })
      .optional(),
    backoff: Backoff.optional(),
  })
  .meta({
    id: "Retry",
    description:
      "When the run is tried again after it has ended badly. A host that was lost is made good by `retries` first, at once; those are not counted here.",
  });

export type Retry = z.infer<typeof Retry>;

/** How long the run is to wait before its next attempt, in ms; undefined if that ending was its last. `random` is from 0 to 1. */
export function backoffMs(
  retry: Retry | undefined,
  { outcome, retried }: { readonly outcome: Outcome; readonly retried: number },
  random: number = Math.random(),
): number | undefined {
  if (!retry || retried + 1 >= retry.attempts) return undefined;
  const kinds: readonly string[] = retry.on ?? RETRY_DEFAULTS.on;
  if (!kinds.includes(outcome.kind) || (outcome.kind === "exited" && outcome.exitCode === 0)) return undefined;
  const { initial = RETRY_DEFAULTS.initial, max = RETRY_DEFAULTS.max, ...rest } = retry.backoff ?? {};
  const { factor = RETRY_DEFAULTS.factor, jitter = RETRY_DEFAULTS.jitter } = rest;
  const grown = (parseDuration(initial) ?? 0) * factor ** retried;
  const whole = Math.min(grown, parseDuration(max) ?? 0);
  return Math.round(jitter ? whole * (0.5 + random / 2) : whole);
}
