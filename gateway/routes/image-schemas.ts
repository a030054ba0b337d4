// What callers ask of images, as it crosses HTTP. What they are answered, core/images.ts says.

import { z } from "@hono/zod-openapi";
import { HostRecord } from "../../core/host.ts";
import { DURATION_FORM, parseDuration } from "../../core/units.ts";
import { FAILURES, problem } from "./schemas.ts";

const Reference = z.string().min(1).max(512).meta({ example: "docker.io/library/busybox:latest" });
const HostName = z.string().min(1).max(63);

/** More than any cluster has. */
const MAX_HOSTS = 1_024;
const MAX_SAVED = 64;

const hosts = z
  .array(HostName)
  .min(1)
  .max(MAX_HOSTS)
  .optional()
  .meta({ description: "Only these; all that live without it." });

const unusedFor = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, `is not ${DURATION_FORM}`)
  .default("0s")
  .meta({ description: "Only what no run has used for so long.", example: "168h" });

export const HostQuery = z.strictObject({
  host: HostName.optional().meta({ description: "Only this one; all that live without it." }),
});
export const ImageQuery = HostQuery.extend({ reference: Reference });

export const PullImage = z
  .strictObject({
    reference: Reference,
    hosts,
    pull: z
      .enum(["missing", "always", "never"])
      .default("missing")
      .meta({ description: "When the registry is asked what a tag stands for." }),
  })
  .meta({ id: "PullImage" });

export const PinImage = z
  .strictObject({
    reference: Reference,
    hosts,
    pinned: z.boolean().default(true).meta({ description: "A pinned image is not removed, by nobody and nothing." }),
  })
  .meta({ id: "PinImage" });

export const PruneImages = z.strictObject({ hosts, unusedFor }).meta({ id: "PruneImages" });

export const VerifyImages = z
  .strictObject({
    reference: Reference.optional().meta({ description: "Only this image; all without it." }),
    hosts,
    repair: z
      .boolean()
      .default(false)
      .meta({ description: "What is wrong is made anew from what is right, or fetched." }),
  })
  .meta({ id: "VerifyImages" });

export const LoadQuery = HostQuery.extend({
  all: z.enum(["true", "false"]).default("false").meta({
    description: "`true`: the other hosts are given the images too, by the one that took the archive.",
  }),
});

export const SaveQuery = HostQuery.extend({
  reference: z
    .union([Reference.transform((one) => [one]), z.array(Reference).min(1).max(MAX_SAVED)])
    .meta({ type: "array", items: { type: "string" }, description: `The images, 1 to ${MAX_SAVED}.` }),
  format: z.enum(["oci", "docker"]).default("oci").meta({ description: "An OCI layout, or what `docker save` makes." }),
});

export const HostList = z.object({ hosts: z.array(HostRecord) }).meta({ id: "HostList" });

/** What every call about images may answer. */
export const IMAGE_FAILURES = {
  ...FAILURES,
  404: problem("There is no such host."),
};

export const TOO_MANY = problem("This gateway has as many pulls and archives under way as it may.");

/** A body of JSON. */
export const body = <T extends z.ZodType>(schema: T) => ({
  body: { required: true, content: { "application/json": { schema } } },
});
