// An image that is ready on this host: what a sandbox needs to know of it, and nothing about how it came.

import type { Digest } from "../content/digest.ts";

/**
 * The fields of an OCI image config that a run honours (OCI image-spec, config.md). Absent and null fields are normalised away.
 */
export interface ImageConfig {
  /** `NAME=value`, in the image's order. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** Absolute; "/" if the image says nothing. */
  readonly workdir: string;
  /** `user`, `uid`, `user:group` …, as the image writes it; empty for root. */
  readonly user: string;
}

export interface Image {
  /** The reference as normalised: registry/repository[:tag][@digest]. */
  readonly reference: string;
  /** Digest of what the reference named: the index if there is one, else the manifest. `sha256:…` */
  readonly digest: string;
  /** Digest of the manifest for this host's platform. */
  readonly manifestDigest: string;
  readonly config: ImageConfig;
  /** Absolute directories of the unpacked layers, the lowest first. Read-only by agreement; shared by all images that have the layer. */
  readonly layers: readonly string[];
}

/**
 * When the registry is asked what a tag stands for: if this host does not know the image (`missing`), at each run (`always`),
 * or not at all (`never`). A digest stands for itself: nobody is asked what it means.
 */
export type PullPolicy = "missing" | "always" | "never";

/** How far one layer of an image has come. Every layer is told at least once; `bytes` only ever grow. */
export interface LayerProgress {
  /** Of the blob. */
  readonly digest: Digest;
  /** `present` was here before; `done` is unpacked, flushed and verified. */
  readonly state: "present" | "pulling" | "done";
  /** Of the blob, received so far. */
  readonly bytes: number;
  /** Of the blob, as the manifest has it. */
  readonly size: number;
}

export interface EnsureOptions {
  /** `missing` without it. */
  readonly pull?: PullPolicy | undefined;
  /** Called synchronously, whenever bytes come: thousands of times in a pull. */
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined;
}

/** An image that stays on this host until it is let go of: garbage collection and removal leave what is held alone. */
export interface HeldImage extends Image {
  /** Idempotent. */
  release(): void;
}

export interface ImageStore {
  /**
   * Makes the image ready on this host and holds it: resolves the reference, fetches what is missing, verifies all of it, unpacks.
   * Idempotent and concurrent: callers that need the same content share one download.
   * Before it resolves every digest, size and DiffID has been checked; when it rejects, nothing half-made is left.
   *
   * Errors: `invalid_reference`, `image_not_found`, `image_not_present`, `image_not_allowed`, `image_access_denied`,
   * `image_unsupported`, `image_corrupt`, `registry_unavailable`, `host_unavailable`. An aborted `signal` rejects with its reason.
   */
  ensure(reference: string, signal: AbortSignal, options?: EnsureOptions): Promise<HeldImage>;
}
