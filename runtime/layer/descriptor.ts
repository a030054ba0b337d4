// What a manifest and a config say of one layer.

import type { Digest } from "../content/digest.ts";

export type Compression = "gzip" | "zstd" | "none";

export interface LayerDescriptor {
  /** Digest of the bytes in the registry. */
  readonly digest: Digest;
  /** Their number. */
  readonly size: number;
  readonly compression: Compression;
  /** Digest of the uncompressed tar stream. */
  readonly diffId: Digest;
}
