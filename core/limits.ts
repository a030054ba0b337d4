// How much a run may have and how long it may take, as numbers with a range and as words with a unit.

import { z } from "zod";
import { DURATION_FORM, formatDuration, formatSize, parseDuration, parseSize, SIZE_FORM } from "./units.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** The bounds of a request. A host may be smaller than these; then no run that large is ever placed on it. */
export const BOUNDS = {
  /** Args and environment together must fit the kernel's ARG_MAX (2 MiB less the stack's share), with room to spare. */
  argumentBytes: 128 * KIB,
  arguments: 1024,
  environment: 512,
  labels: 32,
  labelBytes: 256,
  memory: { min: 16 * MIB, max: 1024 * 1024 * MIB },
  /** Below this an overlay of tmpfs has no room for its own directories. */
  disk: { min: 64 * KIB, max: 1024 * 1024 * MIB },
  output: { min: 0, max: 16 * MIB },
  /** A hundredth of a core: the kernel's shortest quota is 1 ms of each 100 ms. */
  cpus: { min: 0.01, max: 1024 },
  pids: { min: 1, max: 4_000_000 },
  queueMs: { min: 1_000, max: 7 * 86_400_000 },
  startMs: { min: 1_000, max: 3_600_000 },
  runMs: { min: 100, max: 7 * 86_400_000 },
  graceMs: { min: 0, max: 300_000 },
  retries: { min: 0, max: 10 },
  priority: { min: 0, max: 2_097_151 },
  delayMs: { min: 0, max: 366 * 86_400_000 },
  concurrency: { min: 1, max: 100_000 },
  waitSeconds: { min: 0, max: 300 },
} as const;

/** What holds for a field that the request leaves out. */
export const DEFAULTS = {
  cpus: 1,
  memory: "256MiB",
  pids: 128,
  disk: "64MiB",
  output: "1MiB",
  queue: "10m",
  start: "2m",
  run: "1m",
  grace: "10s",
} as const;

type Range = { readonly min: number; readonly max: number };

export const size = (range: Range, says: string, fallback: string) =>
  z
    .string()
    .superRefine(inRange(range, parseSize, formatSize, SIZE_FORM))
    .meta({
      description: `${says} From ${formatSize(range.min)} to ${formatSize(range.max)}.`,
      example: fallback,
      default: fallback,
    });

export const durationWithin = (range: Range) =>
  z.string().superRefine(inRange(range, parseDuration, formatDuration, DURATION_FORM));

export const duration = (range: Range, says: string, fallback: string) =>
  durationWithin(range).meta({
    description: `${says} From ${formatDuration(range.min)} to ${formatDuration(range.max)}.`,
    example: fallback,
    default: fallback,
  });

function inRange(
  range: Range,
  parse: (text: string) => number | undefined,
  format: (n: number) => string,
  form: string,
) {
  return (value: string, context: z.RefinementCtx) => {
    const amount = parse(value);
    if (amount === undefined) context.addIssue({ code: "custom", message: `is not ${form}` });
    else if (amount < range.min) context.addIssue({ code: "custom", message: `is less than ${format(range.min)}` });
    else if (amount > range.max) context.addIssue({ code: "custom", message: `is more than ${format(range.max)}` });
  };
}

export const Limits = z
  .strictObject({
    cpus: z
      .number()
      .min(BOUNDS.cpus.min)
      .max(BOUNDS.cpus.max)
      .meta({ description: "CPUs' worth of time.", example: 1, default: DEFAULTS.cpus }),
    memory: size(BOUNDS.memory, "Memory, with no swap beyond it; files written by the run count too.", DEFAULTS.memory),
    pids: z
      .int()
      .min(BOUNDS.pids.min)
      .max(BOUNDS.pids.max)
      .meta({ description: "Processes and threads alive at once.", example: 64, default: DEFAULTS.pids }),
    disk: size(
      BOUNDS.disk,
      "Bytes the run may write to its file system. Held in memory, so never more than limits.memory.",
      DEFAULTS.disk,
    ),
    output: size(
      BOUNDS.output,
      "Bytes kept of each of stdout and stderr; the program goes on when there is more.",
      DEFAULTS.output,
    ),
  })
  .partial()
  .meta({ id: "Limits" });

export const Timeouts = z
  .strictObject({
    queue: duration(BOUNDS.queueMs, "How long the run may wait for a host.", DEFAULTS.queue),
    start: duration(BOUNDS.startMs, "How long pulling the image and making the container may take.", DEFAULTS.start),
    run: duration(BOUNDS.runMs, "How long the program may run, from the moment its process starts.", DEFAULTS.run),
    grace: duration(BOUNDS.graceMs, "How long after SIGTERM the program has until SIGKILL.", DEFAULTS.grace),
  })
  .partial()
  .meta({ id: "Timeouts" });
