// What is asked for: the request of a run as it crosses HTTP, and the numbers that it stands for.
//
// Unknown fields are refused, and an impossible value is refused, never clamped: every field is named by what it bounds.
// The OpenAPI document is generated from these schemas.

import { z } from "zod";
import { TerminalSize } from "./control.ts";
import { RunFiles } from "./files.ts";
import { Retry } from "./retry.ts";
import { SECRET_BOUNDS, SecretName } from "./secret.ts";
import { DURATION_FORM, formatDuration, formatSize, parseDuration, parseSize, SIZE_FORM } from "./units.ts";
import { Webhook } from "./webhook.ts";

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

export const DEFAULT_POOL = "default";

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

const size = (range: Range, says: string, fallback: string) =>
  z
    .string()
    .superRefine(inRange(range, parseSize, formatSize, SIZE_FORM))
    .meta({
      description: `${says} From ${formatSize(range.min)} to ${formatSize(range.max)}.`,
      example: fallback,
      default: fallback,
    });

const duration = (range: Range, says: string, fallback: string) =>
  z
    .string()
    .superRefine(inRange(range, parseDuration, formatDuration, DURATION_FORM))
    .meta({
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

/** No C string can hold a NUL: it would silently cut what the program sees. */
const cString = z.string().refine((value) => !value.includes("\0"), "must not contain a NUL");

const argv = z.array(cString).max(BOUNDS.arguments);

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

const Base64 = z.base64().meta({ description: "Bytes in base 64." });

export const Stdin = z
  .union(
    [
      z.string().meta({ description: "Text, given to the program as UTF-8." }),
      z.strictObject({ base64: Base64 }),
      z
        .strictObject({ stream: z.literal(true) })
        .meta({ description: "Sent afterwards, by POST /v1/runs/{id}/stdin." }),
    ],
    { error: 'is not text, {"base64": …} or {"stream": true}' },
  )
  .meta({ id: "Stdin", description: "What the program reads; without it, end of file at once." });

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is not a name of letters, digits and _");

export const RunRequest = z
  .strictObject({
    image: z.string().min(1).max(512).meta({
      description: "Image reference, as Docker writes it: [registry/]name[:tag][@digest].",
      example: "127.0.0.1:5000/busybox:latest",
    }),
    pull: z
      .enum(["missing", "always", "never"])
      .meta({
        description:
          "When the registry is asked what a tag stands for: if the host does not know the image, at each run, or never; a host that is not to ask and does not have the image rejects the run.",
        default: "missing",
      })
      .optional(),
    entrypoint: argv
      .min(1)
      .meta({ description: "Replaces the image's entrypoint, and drops the image's command." })
      .optional(),
    command: argv
      .meta({ description: "Arguments to the entrypoint; replaces the image's command.", example: ["echo", "hello"] })
      .optional(),
    env: z
      .record(environmentName, cString)
      .refine((env) => Object.keys(env).length <= BOUNDS.environment, `has more than ${BOUNDS.environment} names`)
      .meta({
        description: `Added to the image's environment, at most ${BOUNDS.environment} names; nothing of the host's is in it. Together with entrypoint and command at most 128 KiB.`,
        example: { GREETING: "hello" },
      })
      .optional(),
    secretEnv: z
      .record(environmentName, SecretName)
      .refine((env) => Object.keys(env).length <= SECRET_BOUNDS.ofRun, `has more than ${SECRET_BOUNDS.ofRun} names`)
      .meta({
        description: `Variables whose values are secrets of the operator's, by the secret's name; at most ${SECRET_BOUNDS.ofRun}. A tenant's own secret stands before one for all.`,
        example: { API_TOKEN: "api-token" },
      })
      .optional(),
    workdir: cString
      .startsWith("/", "must be absolute")
      .max(4096)
      .meta({ description: "Working directory; made if the image lacks it." })
      .optional(),
    user: cString
      .min(1)
      .max(256)
      .meta({ description: "name, uid, name:group or uid:gid, looked up in the image.", example: "1000:1000" })
      .optional(),
    stdin: Stdin.optional(),
    files: RunFiles.optional(),
    terminal: TerminalSize.optional(),
    limits: Limits.optional(),
    timeouts: Timeouts.optional(),
    network: z
      .literal("none")
      .meta({ description: "A loopback interface and nothing else.", default: "none" })
      .optional(),
    retries: z
      .int()
      .min(BOUNDS.retries.min)
      .max(BOUNDS.retries.max)
      .meta({
        description:
          "How many more attempts the run may have after one whose program had started was lost with its host.",
        default: 0,
      })
      .optional(),
    retry: Retry.optional(),
    priority: z
      .int()
      .min(BOUNDS.priority.min)
      .max(BOUNDS.priority.max)
      .meta({ description: "0 is first; a larger number is later.", default: 0 })
      .optional(),
    delay: duration(BOUNDS.delayMs, "How long the run is to wait before it may start.", "0s").optional(),
    notBefore: z.iso
      .datetime({ offset: true, error: "is not a moment such as 2026-01-31T08:00:00Z" })
      .meta({
        description: "The moment before which the run is not to start; in place of delay.",
        example: "2026-01-31T08:00:00Z",
      })
      .optional(),
    concurrency: z
      .strictObject({
        key: z.string().min(1).max(BOUNDS.labelBytes).meta({ example: "customer-17" }),
        max: z.int().min(BOUNDS.concurrency.min).max(BOUNDS.concurrency.max),
      })
      .meta({
        description:
          "Of the tenant's runs with this key at most `max` are on hosts at once; the others wait, and nothing else waits for them.",
      })
      .optional(),
    labels: z
      .record(z.string().min(1).max(BOUNDS.labelBytes), z.string().max(BOUNDS.labelBytes))
      .refine((labels) => Object.keys(labels).length <= BOUNDS.labels, `has more than ${BOUNDS.labels} names`)
      .meta({
        description: `The caller's own words, kept with the run: at most ${BOUNDS.labels} names, names and values of at most ${BOUNDS.labelBytes} characters.`,
        example: { build: "17" },
      })
      .optional(),
    pool: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "is not a name of a-z, 0-9 and -")
      .meta({ description: "The hosts to run on.", default: "default" })
      .optional(),
    webhook: Webhook.optional(),
  })
  .superRefine((request, context) => {
    if (request.delay !== undefined && request.notBefore !== undefined)
      context.addIssue({ code: "custom", path: ["notBefore"], message: "and delay exclude each other" });
    if (request.files !== undefined && request.terminal !== undefined)
      context.addIssue({ code: "custom", path: ["files"], message: "and terminal exclude each other" });
    for (const name of Object.keys(request.secretEnv ?? {}))
      if (request.env !== undefined && Object.hasOwn(request.env, name))
        context.addIssue({ code: "custom", path: ["secretEnv", name], message: "is in env, too" });
    const bytes = argumentBytes(request);
    if (bytes > BOUNDS.argumentBytes) {
      context.addIssue({
        code: "custom",
        path: ["command"],
        message: `and env together have ${bytes} bytes, more than ${BOUNDS.argumentBytes}`,
      });
    }
    const memory = parseSize(request.limits?.memory ?? DEFAULTS.memory);
    const disk = parseSize(request.limits?.disk ?? DEFAULTS.disk);
    if (request.limits?.disk !== undefined && memory !== undefined && disk !== undefined && disk > memory) {
      context.addIssue({
        code: "custom",
        path: ["limits", "disk"],
        message: "is more than limits.memory, in which it is held",
      });
    }
  })
  .meta({ id: "RunRequest" });

export type RunRequest = z.infer<typeof RunRequest>;

export function argumentBytes(request: {
  entrypoint?: string[] | undefined;
  command?: string[] | undefined;
  env?: Record<string, string> | undefined;
}): number {
  const strings = [
    ...(request.entrypoint ?? []),
    ...(request.command ?? []),
    ...Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`),
  ];
  return strings.reduce((sum, value) => sum + Buffer.byteLength(value) + 1, 0);
}
