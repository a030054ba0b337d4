// The image config (image-spec, config.md): what a run takes from it, and what its layers must turn out to be.

import { posix } from "node:path";
import { z } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { type Digest, isDigest } from "../content/digest.ts";
import type { ImageConfig } from "./image.ts";
import { parseJsonObject, readDocument } from "./manifest.ts";
import { formatPlatform, type Platform, runsOn } from "./platform.ts";

/** The largest config that is read; a real one is some kilobytes. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

export interface ParsedConfig {
  readonly config: ImageConfig;
  /** One a layer, the lowest first. */
  readonly diffIds: readonly Digest[];
}

/** A NUL would end the string early where the kernel reads it. */
const TEXT = z.string().refine((text) => !text.includes("\0"), "contains a NUL");

/** More than any real image has; a longer list is refused before each of its elements is looked at. */
const MAX_LISTED = 10_000;

const CONFIG = z.object({
  os: z.string().nullish(),
  architecture: z.string().nullish(),
  variant: z.string().nullish(),
  rootfs: z.object({ diff_ids: z.array(z.string().refine(isDigest, "not a sha256 digest")).max(MAX_LISTED).nullish() }),
  config: z
    .object({
      Env: z.array(TEXT).max(MAX_LISTED).nullish(),
      Entrypoint: z.array(TEXT).max(MAX_LISTED).nullish(),
      Cmd: z.array(TEXT).max(MAX_LISTED).nullish(),
      WorkingDir: TEXT.nullish(),
      User: TEXT.nullish(),
    })
    .nullish(),
});

/**
 * Reads a config. `image_corrupt` names the wrong field, or says that the number of layers is not the manifest's;
 * `image_unsupported` if it says that it is for another platform.
 */
export function parseConfig(bytes: Uint8Array, host: Platform, layerCount: number): ParsedConfig {
  const { os, architecture, variant, rootfs, config } = readDocument(
    CONFIG,
    parseJsonObject(bytes, "image config"),
    "image config",
  );
  // Hand-made images leave these out; what says nothing is taken to be for this host.
  const platform = {
    os: os || host.os,
    architecture: architecture || host.architecture,
    variant: variant || undefined,
  };
  if (!runsOn(platform, host)) throw wrongPlatform(platform, host);
  const diffIds = rootfs.diff_ids ?? [];
  if (diffIds.length !== layerCount) {
    throw new MayflyError("image_corrupt", `image config: ${diffIds.length} diff_ids for ${layerCount} layers`);
  }
  return { diffIds, config: normalise(config ?? {}) };
}

/** What no host of this kind can run. */
export function wrongPlatform(offered: Platform, host: Platform): MayflyError {
  return new MayflyError(
    "image_unsupported",
    `the image is for ${formatPlatform(offered)}, not for ${formatPlatform(host)}`,
  );
}

function normalise(config: NonNullable<z.infer<typeof CONFIG>["config"]>): ImageConfig {
  return {
    env: (config.Env ?? []).filter((entry) => entry.indexOf("=") > 0), // Without a name it is not a variable, for Docker neither.
    entrypoint: config.Entrypoint ?? [],
    command: config.Cmd ?? [],
    workdir: posix.resolve("/", config.WorkingDir || "/"),
    user: config.User ?? "",
  };
}
