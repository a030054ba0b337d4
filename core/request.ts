// What is asked for: the request of a run as it crosses HTTP, and the numbers that it stands for.
//
// Unknown fields are refused, and an impossible value is refused, never clamped: every field is named by what it bounds.
// The OpenAPI document is generated from these schemas.

import { z } from "zod";
import { RunArtifacts } from "./artifacts.ts";
import { TerminalSize } from "./control.ts";
import { RunFiles } from "./files.ts";
import { BOUNDS, DEFAULTS, duration, Limits, Timeouts } from "./limits.ts";
import { Retry } from "./retry.ts";
import { SECRET_BOUNDS, SecretName } from "./secret.ts";
import { parseSize } from "./units.ts";
import { RunUpload } from "./uploads.ts";
import { Webhook } from "./webhook.ts";

export { BOUNDS, DEFAULTS } from "./limits.ts";

export const DEFAULT_POOL = "default";

/** No C string can hold a NUL: it would silently cut what the program sees. */
const cString = z.string().refine((value) => !value.includes("\0"), "must not contain a NUL");

const argv = z.array(cString).max(BOUNDS.arguments);

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
    artifacts: RunArtifacts.optional(),
    upload: RunUpload.optional(),
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
    for (const field of ["files", "upload"] as const)
      if (request[field] !== undefined && request.terminal !== undefined)
        context.addIssue({ code: "custom", path: [field], message: "and terminal exclude each other" });
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
