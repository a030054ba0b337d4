// What one caller is told of a pull, out of all that happens in it: bytes that only grow, and every layer.

import type { Digest } from "../content/digest.ts";
import type { LayerProgress } from "./image.ts";

export type OnProgress = (progress: LayerProgress) => void;

export class Progress {
  readonly #tell: OnProgress;
  readonly #told = new Map<Digest, LayerProgress>();

  constructor(tell: OnProgress) {
    this.#tell = tell;
  }

  /** Nothing that would take back what was told, or tell it again. */
  hear(progress: LayerProgress): void {
    const last = this.#told.get(progress.digest);
    if (last && last.state !== "pulling") return;
    if (last?.state === progress.state && progress.bytes <= last.bytes) return;
    this.#told.set(progress.digest, progress);
    this.#tell(progress);
  }

  /** The image is ready: what was here before this caller came is told now. */
  finish(layers: readonly { readonly digest: Digest; readonly size: number }[]): void {
    for (const { digest, size } of layers) {
      const state = this.#told.has(digest) ? "done" : "present";
      this.hear({ digest, size, state, bytes: size });
    }
  }
}
