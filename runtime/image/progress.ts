// What one caller is told of a pull, out of all that happens in it: bytes that only grow, not too often, and every layer.

import { monotonicMs } from "../../core/clock.ts";
import type { Digest } from "../content/digest.ts";
import type { LayerProgress } from "./image.ts";

export type OnProgress = (progress: LayerProgress) => void;

/** Ten times a second a layer: people see no more. */
const INTERVAL_MS = 100;

export class Progress {
  readonly #tell: OnProgress;
  readonly #told = new Map<Digest, { readonly progress: LayerProgress; readonly atMs: number }>();

  constructor(tell: OnProgress) {
    this.#tell = tell;
  }

  /** A change of state is told at once, bytes now and then, and nothing that would take back what was told. */
  hear(progress: LayerProgress): void {
    const last = this.#told.get(progress.digest);
    const atMs = monotonicMs();
    const isNews = last?.progress.state !== progress.state;
    if (last && last.progress.state !== "pulling") return;
    if (last && !isNews && (progress.bytes <= last.progress.bytes || atMs - last.atMs < INTERVAL_MS)) return;
    this.#told.set(progress.digest, { progress, atMs });
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
