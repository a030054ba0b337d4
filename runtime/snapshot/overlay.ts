// What to mount for a sandbox, as a value. The mount itself is made elsewhere: in the sandbox's own mount namespace.

import type { Image } from "../image/image.ts";

/** A writable view of an image: the layers below, and a size-limited tmpfs for what the run writes. */
export interface OverlaySnapshot {
  readonly kind: "overlay";
  /** Absolute directories, the top one first, as overlayfs' `lowerdir` wants them. At least one. */
  readonly lower: readonly string[];
  /** The most that the run may write. */
  readonly sizeBytes: number;
}

export function overlaySnapshot(image: Image, options: { sizeBytes: number }): OverlaySnapshot {
  return { kind: "overlay", lower: image.layers.toReversed(), sizeBytes: options.sizeBytes };
}
