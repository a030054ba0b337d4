// What is told of an image: from its record, its config, and what its layers take on disk.

import { z } from "zod";
import type { HistoryEntry, ImageInfo, ImageInspection, ImageLayer } from "../../core/images.ts";
import type { ContentStore } from "../content/store.ts";
import { parseConfig } from "./config.ts";
import type { NamedImage, Sizes } from "./inventory.ts";
import { parseJsonObject, readDocument } from "./manifest.ts";
import { layerPiece } from "./pieces.ts";
import { formatPlatform, type Platform } from "./platform.ts";
import type { ImageRecord } from "./records.ts";

/** More than any real image has. */
const MAX_STEPS = 10_000;

/** RFC 3339 with nanoseconds and a zone has 35 characters. */
const MAX_MOMENT_LENGTH = 64;

const STEP = z.object({
  created: z.string().nullish(),
  created_by: z.string().nullish(),
  comment: z.string().nullish(),
  empty_layer: z.boolean().nullish(),
});

/**
 * What of a config is for people; what a run honours is read in config.ts. No run fails of it, so neither may the list of all images:
 * what is nonsense counts as absent.
 */
const CONFIG = z.object({
  os: z.string().nullish(),
  architecture: z.string().nullish(),
  variant: z.string().nullish(),
  created: z.string().max(MAX_MOMENT_LENGTH).nullish().catch(null),
  config: z.object({ Labels: z.record(z.string(), z.string()).nullish().catch(null) }).nullish(),
  history: z.array(STEP).max(MAX_STEPS).nullish().catch(null),
});
type Config = z.infer<typeof CONFIG>;

export interface Looking {
  readonly content: ContentStore;
  readonly sizes: Sizes;
  /** This host's: of a config that says nothing of it. */
  readonly platform: Platform;
}

/** An image whose config has gone from the disk, until it is repaired or used, is told without what was in it. */
export async function infoOf(image: NamedImage, looking: Looking): Promise<ImageInfo> {
  const bytes = await looking.content.read(image.records[0].configDigest);
  return describe(image, bytes ? readConfig(bytes) : {}, looking);
}

/** `image_corrupt` if its config has gone from the disk. */
export async function inspectionOf(image: NamedImage, looking: Looking): Promise<ImageInspection> {
  const [record] = image.records;
  const bytes = (await looking.content.read(record.configDigest)) ?? Buffer.of();
  const document = readConfig(bytes);
  const { config } = parseConfig(bytes, looking.platform, record.layers.length);
  const { env, entrypoint, command, workdir, user } = config;
  const labels = document.config?.Labels ?? {};
  const info = describe(image, document, looking);
  return {
    ...info,
    config: { env: [...env], entrypoint: [...entrypoint], command: [...command], workdir, user, labels },
    history: historyOf(document, info.layers),
  };
}

function readConfig(bytes: Uint8Array): Config {
  return readDocument(CONFIG, parseJsonObject(bytes, "image config"), "image config");
}

function describe(image: NamedImage, document: Config, { sizes, platform }: Looking): ImageInfo {
  const [newest] = image.records;
  const { digest, manifestDigest, configDigest } = newest;
  return {
    references: image.records.map(({ reference }) => reference).toSorted(),
    digest,
    manifestDigest,
    configDigest,
    platform: formatPlatform({
      os: document.os || platform.os,
      architecture: document.architecture || platform.architecture,
      variant: document.variant || undefined,
    }),
    ...(document.created ? { createdAt: document.created } : {}),
    pulledAt: newest.pulledAt,
    lastUsedAt: new Date(image.lastUsedMs).toISOString(),
    layers: layersOf(newest, sizes),
    pinned: image.isPinned,
    held: image.holders,
  };
}

function layersOf({ layers }: ImageRecord, sizes: Sizes): ImageLayer[] {
  return layers.map(({ digest, diffId, size }) => ({
    digest,
    diffId,
    size,
    unpacked: sizes.get(layerPiece(diffId)) ?? 0,
  }));
}

/** As `docker history` merges them: each step that is not empty made the next layer. What no step tells of stands at the end. */
function historyOf({ history }: Config, layers: readonly ImageLayer[]): HistoryEntry[] {
  const rest = [...layers];
  const steps = (history ?? []).map((step): HistoryEntry => {
    const layer = step.empty_layer ? undefined : rest.shift();
    return {
      createdBy: step.created_by ?? "",
      ...(step.created ? { createdAt: step.created } : {}),
      ...(step.comment ? { comment: step.comment } : {}),
      ...(layer ? { layer } : {}),
    };
  });
  return [...steps, ...rest.map((layer) => ({ createdBy: "", layer }))];
}
