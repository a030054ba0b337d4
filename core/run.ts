// What is answered: a run as it crosses HTTP, its states, how it ended, and what is known of it. See request.ts for what is
// asked for. The OpenAPI document is generated from these schemas.

import { z } from "zod";
import { ArtifactFacts } from "./artifacts.ts";
import { type ErrorReason, REASONS } from "./errors.ts";
import { RUN_ID_PATTERN } from "./ids.ts";

/** The states of a run, and the moves between them. Each state but the last has a deadline: see transitions.ts. */
export const TRANSITIONS = {
  queued: ["starting", "finished"],
  starting: ["running", "queued", "finished"],
  running: ["queued", "finished"],
  finished: [],
} as const satisfies Record<string, readonly string[]>;

export const RunState = z.enum(["queued", "starting", "running", "finished"]).meta({ id: "RunState" });
export type RunState = z.infer<typeof RunState>;

export const CLOCKS = ["queue", "start", "run"] as const;
const reasons = Object.keys(REASONS) as [ErrorReason, ...ErrorReason[]];

/** How a run ended: exactly one of these, from facts of the kernel, never from guesses. */
export const Outcome = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("exited"), exitCode: z.int().min(0).max(255) }),
    z.strictObject({ kind: z.literal("signaled"), signal: z.string().meta({ example: "SIGSEGV" }) }),
    z.strictObject({ kind: z.literal("timed_out"), clock: z.enum(CLOCKS), limit: z.string() }),
    z.strictObject({
      kind: z.literal("oom_killed"),
      exitCode: z
        .int()
        .min(0)
        .max(255)
        .optional()
        .meta({ description: "If the program itself ended after the kill of a child." }),
      limit: z.string().meta({ description: "The memory limit that was reached." }),
    }),
    z.strictObject({ kind: z.literal("cancelled") }),
    z.strictObject({ kind: z.literal("lost"), message: z.string() }),
    z.strictObject({ kind: z.literal("rejected"), code: z.enum(reasons), message: z.string() }),
  ])
  .meta({ id: "Outcome", description: "How the run ended. A program that exits 1 is a result, not an error." });

export type Outcome = z.infer<typeof Outcome>;
export type Clock = (typeof CLOCKS)[number];

/** What was seen of one output stream. The kept bytes themselves are stored apart. */
export const StreamFacts = z.strictObject({
  bytesSeen: z.int(),
  bytesKept: z.int(),
  truncated: z
    .boolean()
    .meta({ description: "True if bytes were left out: those after the first `bytesHead` kept ones." }),
  bytesHead: z.int().meta({ description: "Where the gap is in the kept bytes, if truncated." }),
  sha256: z.string().meta({ description: "Of all bytes seen, in hex." }),
});

export type StreamFacts = z.infer<typeof StreamFacts>;

/** Of a stream that nothing came from; the digest is that of no bytes. */
export const NOTHING_SEEN: StreamFacts = {
  bytesSeen: 0,
  bytesKept: 0,
  bytesHead: 0,
  truncated: false,
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
};

/** The most that is kept of a stream's end: enough for the error that a long log ends in. */
const TAIL_BYTES = 64 * 1024;
/** The share of a small cap that is kept for the end. */
const TAIL_SHARE = 4;

/** How much of a stream with this cap is stored as it comes, and can be followed; what comes after it waits for the stream's end. */
export function liveBytes(capBytes: number): number {
  return capBytes - Math.min(TAIL_BYTES, Math.floor(capBytes / TAIL_SHARE));
}

export const Output = StreamFacts.extend({
  encoding: z.enum(["utf8", "base64"]).meta({ description: "utf8 if the kept bytes are text, base64 if not." }),
  data: z.string(),
}).meta({ id: "Output" });

export const PHASES = ["queue", "pull", "prepare", "start", "run", "collect"] as const;
export type Phase = (typeof PHASES)[number];

export const Receipt = z
  .strictObject({
    imageDigest: z
      .string()
      .meta({ description: "Digest of what the reference named.", example: "sha256:…" })
      .optional(),
    host: z.string(),
    driver: z.string(),
    attempt: z.int(),
    phases: z.partialRecord(z.enum(PHASES), z.number()).meta({ description: "Milliseconds spent in each phase." }),
    cpuMs: z.number().meta({ description: "CPU time of everything in the container." }).optional(),
    throttledMs: z
      .number()
      .meta({ description: "Time the container waited because its CPU limit was used up." })
      .optional(),
    peakMemoryBytes: z.int().optional(),
    oomKills: z
      .int()
      .meta({ description: "Processes of the container that the kernel's OOM killer ended." })
      .optional(),
  })
  .meta({ id: "Receipt" });

export type Receipt = z.infer<typeof Receipt>;

/** Of a run that starts and whose host has not had its image: how far it has come. */
export const Pulling = z
  .strictObject({
    layers: z.int().meta({ description: "That the host lacked; 0 while the registry has not told yet." }),
    layersDone: z.int(),
    bytes: z.int().meta({ description: "Of these layers' blobs, received so far." }),
    size: z.int().meta({ description: "Of these layers' blobs, in all." }),
    bytesPerSecond: z.int().meta({ description: "Since the pull began." }),
  })
  .meta({ id: "Pulling" });

export type Pulling = z.infer<typeof Pulling>;

/** Of a run that is queued: what it waits for. */
export const Waiting = z
  .strictObject({
    reason: z.enum(["no_room", "tenant_quota", "concurrency_key", "delayed", "no_host", "no_host_large_enough"]),
    position: z
      .int()
      .meta({ description: "1 for the next of those that wait for the same; between tenants, by their fair shares." })
      .optional(),
    estimatedSeconds: z.int().meta({ description: "By how many runs were started in the last minute." }).optional(),
    until: z.string().meta({ description: "When a delayed run comes into line." }).optional(),
    limit: z.string().meta({ description: "The tenant's limit that is reached." }).optional(),
  })
  .meta({ id: "Waiting" });

export type Waiting = z.infer<typeof Waiting>;

export const PastAttempt = z
  .strictObject({
    attempt: z.int(),
    startedAt: z.string().optional(),
    finishedAt: z.string(),
    outcome: Outcome,
    receipt: Receipt.optional(),
  })
  .meta({ id: "PastAttempt", description: "An attempt that was not the last. Its output is gone." });

export const Run = z
  .strictObject({
    id: z.string().regex(RUN_ID_PATTERN),
    tenant: z.string().meta({ description: "Told in lists of other tenants' runs." }).optional(),
    state: RunState,
    image: z.string(),
    labels: z.record(z.string(), z.string()),
    schedule: z.string().optional().meta({ description: "The name of the schedule that made it." }),
    attempt: z.int(),
    createdAt: z.string(),
    startedAt: z.string().meta({ description: "When the program of this attempt started." }).optional(),
    finishedAt: z.string().optional(),
    attempts: z
      .array(PastAttempt)
      .meta({ description: "How the attempts before this one ended: the last ten of them, oldest first." })
      .optional(),
    retriedFrom: z
      .string()
      .regex(RUN_ID_PATTERN)
      .meta({ description: "The dead letter that this run is another try of." })
      .optional(),
    cancelRequested: z.boolean().optional(),
    waiting: Waiting.meta({ description: "Why a queued run waits; told where one run is asked for." }).optional(),
    pulling: Pulling.meta({ description: "While the run is starting and its host fetches the image." }).optional(),
    outcome: Outcome.optional(),
    stdout: Output.optional(),
    stderr: Output.optional(),
    artifacts: ArtifactFacts.optional(),
    receipt: Receipt.optional(),
  })
  .meta({
    id: "Run",
    description:
      "outcome is there once the state is finished; stdout, stderr and receipt too, if a host has had the run.",
  });

export type Run = z.infer<typeof Run>;
