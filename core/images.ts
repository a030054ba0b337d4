// What a host tells of its images: to the gateway, and through it to operators.
//
// An image is one manifest; the references that lead to it are its names. Sizes are bytes. Moments are ISO 8601, UTC.

import { z } from "zod";

const DIGEST = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const BYTES = z.int().nonnegative();

export const ImageLayer = z
  .object({
    /** Of the blob, as the registry has it. */
    digest: DIGEST,
    diffId: DIGEST,
    size: BYTES.meta({ description: "Of the blob." }),
    unpacked: BYTES.meta({ description: "What the unpacked layer takes on disk." }),
  })
  .meta({ id: "ImageLayer" });
export type ImageLayer = z.infer<typeof ImageLayer>;

export const ImageInfo = z
  .object({
    references: z.array(z.string()).meta({ description: "Normalised; the names that lead to this manifest here." }),
    digest: DIGEST.meta({ description: "Of what the reference named: an index or a manifest." }),
    manifestDigest: DIGEST,
    configDigest: DIGEST.meta({ description: "What Docker calls the image's id." }),
    platform: z.string(),
    createdAt: z.string().optional(),
    pulledAt: z.string(),
    lastUsedAt: z.string(),
    layers: z.array(ImageLayer),
    pinned: z.boolean(),
    held: z.int().nonnegative().meta({ description: "By how many runs and pulls." }),
  })
  .meta({ id: "Image" });
export type ImageInfo = z.infer<typeof ImageInfo>;

export const HistoryEntry = z.object({
  createdAt: z.string().optional(),
  createdBy: z.string(),
  comment: z.string().optional(),
  /** Absent of a step that made no layer. */
  layer: ImageLayer.optional(),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

export const ImageInspection = ImageInfo.extend({
  config: z.object({
    env: z.array(z.string()),
    entrypoint: z.array(z.string()),
    command: z.array(z.string()),
    workdir: z.string(),
    user: z.string(),
    labels: z.record(z.string(), z.string()),
  }),
  /** The oldest first. */
  history: z.array(HistoryEntry),
}).meta({ id: "ImageInspection" });
export type ImageInspection = z.infer<typeof ImageInspection>;

/** What is asked of one host, by the gateway. */
export const HostRequests = {
  pull: z.strictObject({ reference: z.string(), pull: z.enum(["missing", "always", "never"]).optional() }),
  pin: z.strictObject({ reference: z.string(), pinned: z.boolean() }),
  prune: z.strictObject({ unusedForMs: z.number().nonnegative() }),
  verify: z.strictObject({ reference: z.string().optional(), repair: z.boolean() }),
};

/** What is on disk, once each: a layer of two images counts as shared. */
export const ImageUsage = z
  .object({
    images: z.int(),
    layers: z.int(),
    budget: BYTES.meta({ description: "What images may take; the least recently used go first when they take more." }),
    total: BYTES,
    shared: BYTES.meta({ description: "Of layers that more than one image has." }),
    unique: BYTES.meta({ description: "Of layers that one image has." }),
    reclaimable: BYTES.meta({
      description: "Of what nothing holds and nobody pinned: what a prune of everything would free.",
    }),
  })
  .meta({ id: "ImageUsage" });
export type ImageUsage = z.infer<typeof ImageUsage>;

export const Reclaimed = z
  .object({ references: z.array(z.string()), layers: z.int(), bytes: BYTES })
  .meta({ id: "Reclaimed" });
export type Reclaimed = z.infer<typeof Reclaimed>;

export const Verified = z
  .object({
    layers: z.int(),
    blobs: z.int(),
    /** What was not as it must be, in words, and whether it is right again. */
    faults: z.array(z.object({ digest: DIGEST, what: z.string(), repaired: z.boolean() })),
  })
  .meta({ id: "ImagesVerified" });
export type Verified = z.infer<typeof Verified>;

/** One event of a pull: a layer has come further, or the image is there, or it will not be. */
export const PullEvent = z
  .discriminatedUnion("kind", [
    z.object({
      kind: z.literal("layer"),
      digest: DIGEST,
      state: z.enum(["present", "pulling", "done"]),
      bytes: BYTES,
      size: BYTES,
    }),
    z.object({ kind: z.literal("ready"), reference: z.string(), digest: DIGEST, layers: z.int() }),
    z.object({ kind: z.literal("failed"), reason: z.string(), message: z.string() }),
  ])
  .meta({ id: "PullEvent" });
export type PullEvent = z.infer<typeof PullEvent>;

/** What a host could not do; the other hosts are not concerned. */
export const HostFailure = z
  .object({ host: z.string(), error: z.object({ code: z.string(), reason: z.string(), message: z.string() }) })
  .meta({ id: "HostFailure" });
export type HostFailure = z.infer<typeof HostFailure>;

const perHost = <K extends string, T extends z.ZodType>(id: string, name: K, answer: T) =>
  z
    .object({
      hosts: z.array(z.union([z.object({ host: z.string(), [name]: answer } as HostFields<K, T>), HostFailure])),
    })
    .meta({ id });
type HostFields<K extends string, T> = { host: z.ZodString } & { [name in K]: T };

/** What the gateway answers: each host by itself, with what it told or why it did not. */
export const ImagesOfHosts = perHost("ImagesOfHosts", "images", z.array(ImageInfo));
export type ImagesOfHosts = z.infer<typeof ImagesOfHosts>;
export const UsageOfHosts = perHost("ImageUsageOfHosts", "usage", ImageUsage);
export type UsageOfHosts = z.infer<typeof UsageOfHosts>;
export const InspectionOfHosts = perHost("ImageInspectionOfHosts", "image", ImageInspection);
export type InspectionOfHosts = z.infer<typeof InspectionOfHosts>;
export const ReclaimedOfHosts = perHost("ReclaimedOfHosts", "reclaimed", Reclaimed);
export type ReclaimedOfHosts = z.infer<typeof ReclaimedOfHosts>;
export const VerifiedOfHosts = perHost("ImagesVerifiedOfHosts", "verified", Verified);
export type VerifiedOfHosts = z.infer<typeof VerifiedOfHosts>;
export const PinnedOfHosts = perHost("ImagePinnedOfHosts", "pinned", z.boolean());
export type PinnedOfHosts = z.infer<typeof PinnedOfHosts>;
export const LoadedOfHosts = perHost("ImagesLoadedOfHosts", "references", z.array(z.string()));
export type LoadedOfHosts = z.infer<typeof LoadedOfHosts>;

/** One event of a pull to several hosts. The first of a stream is `hosts`; the stream is whole when each of them is ready or failed. */
export const HostPullEvent = z.intersection(z.object({ host: z.string() }), PullEvent);
export type HostPullEvent = z.infer<typeof HostPullEvent>;
