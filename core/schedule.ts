// A schedule: a request that is made again and again, at the minutes that a cron expression names in a time zone. As it crosses HTTP.

import { z } from "zod";
import { TENANT_PATTERN } from "./api-key.ts";
import { BOUNDS, RunRequest } from "./request.ts";

export const SCHEDULE_BOUNDS = {
  /** Of one tenant, and of all. Each is a job in Redis, looked at when a gateway starts. */
  ofTenant: 1_000,
  all: 10_000,
  /** Of its request as JSON: it is written to the record of each run. */
  requestBytes: 64 * 1024,
  /** A tick that nobody saw to for so long was missed. No two ticks are closer than a minute. */
  lateMs: 60_000,
} as const;

export const SCHEDULE_NAME_PATTERN = TENANT_PATTERN;

export const ScheduleName = z
  .string()
  .regex(SCHEDULE_NAME_PATTERN, "is not a schedule's name: up to 63 of a-z, 0-9, _ and -, the first a letter or digit")
  .meta({ description: "The schedule's name, of its tenant.", example: "nightly" });

const Cron = z
  .string()
  .max(BOUNDS.labelBytes)
  .regex(/^\s*[^\s@H]+(\s+[^\sH]+){4}\s*$/, "is not five fields: minute, hour, day of month, month, day of week")
  .meta({ description: "Minute, hour, day of month, month, day of week.", example: "30 2 * * 1-5" });

const TimeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, "is not a time zone's name, such as Europe/Berlin")
  .meta({ description: "The time zone in which the fields count.", example: "Europe/Berlin", default: "UTC" });

export const NewSchedule = z
  .strictObject({
    name: ScheduleName,
    cron: Cron,
    timezone: TimeZone.optional(),
    request: RunRequest,
    enabled: z.boolean().meta({ description: "False: paused from the start.", default: true }).optional(),
  })
  .superRefine(({ request }, context) => {
    const refuse = (field: string, message: string) =>
      context.addIssue({ code: "custom", path: ["request", field], message });
    if (request.notBefore !== undefined) refuse("notBefore", "makes no sense of a run that is made again and again");
    if (request.upload !== undefined) refuse("upload", "does not last as long as a schedule: files do");
    const { stdin } = request;
    if (typeof stdin === "object" && "stream" in stdin)
      refuse("stdin", "cannot be streamed: nobody is there to send it");
    const bytes = Buffer.byteLength(JSON.stringify(request));
    if (bytes > SCHEDULE_BOUNDS.requestBytes)
      context.addIssue({
        code: "custom",
        path: ["request"],
        message: `has ${bytes} bytes, more than ${SCHEDULE_BOUNDS.requestBytes}`,
      });
  })
  .meta({ id: "NewSchedule" });

export type NewSchedule = z.infer<typeof NewSchedule>;

export const Schedule = z
  .strictObject({
    name: ScheduleName,
    cron: z.string(),
    timezone: z.string(),
    request: RunRequest,
    enabled: z.boolean(),
    createdAt: z.string(),
    nextTick: z.string().optional().meta({ description: "When it makes its next run, unless it is paused." }),
    lastTick: z.string().optional().meta({ description: "The last moment at which it was due and not paused." }),
    lastRun: z.string().optional().meta({ description: "The id of the last run that it made." }),
    lastError: z
      .strictObject({ tick: z.string(), message: z.string() })
      .optional()
      .meta({ description: "Why there was no run at the last tick; gone when a later one has made one." }),
  })
  .meta({ id: "Schedule" });

export type Schedule = z.infer<typeof Schedule>;

export const SchedulePage = z
  .strictObject({
    schedules: z.array(Schedule),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "SchedulePage" });

export type SchedulePage = z.infer<typeof SchedulePage>;

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "" && !/^[+-]/.test(name);
  } catch {
    return false;
  }
}
