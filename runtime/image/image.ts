// An image that is ready on this host: what a sandbox needs to know of it, and nothing about how it came.

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

export interface ImageStore {
  /**
   * Makes the image ready on this host: resolves the reference, fetches what is missing, verifies all of it, unpacks.
   * Idempotent and concurrent: callers that need the same content share one download.
   * Before it resolves every digest, size and DiffID has been checked; when it rejects, nothing half-made is left.
   *
   * Errors: `invalid_reference`, `image_not_found`, `image_access_denied`, `image_unsupported`, `image_corrupt`,
   * `registry_unavailable`. An aborted `signal` rejects with the signal's reason.
   */
  ensure(reference: string, signal: AbortSignal): Promise<Image>;
}
