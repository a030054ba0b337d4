// The root file system of a run, as a value: which layers lie below, how large the writable layer on top may grow.
// Nothing is mounted here: that is done in one place, by the sandbox's supervisor, in a mount namespace of its own.

import type { Image } from "../image/image.ts";

export interface OverlaySnapshot {
  readonly kind: "overlay";
  /** Absolute directories, the topmost first, as overlayfs' `lowerdir` wants them. Never empty. */
  readonly lower: readonly string[];
  /** Bounds the writable layer, which lives as long as the run. */
  readonly sizeBytes: number;
}

export function overlaySnapshot(image: Image, sizeBytes: number): OverlaySnapshot {
  return { kind: "overlay", lower: image.layers.toReversed(), sizeBytes };
}
