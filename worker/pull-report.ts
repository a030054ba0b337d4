// How far the image of a run has come, for its record: a few times a second, and not at all if it is there at once.

import { monotonicMs } from "../core/clock.ts";
import type { Pulling } from "../core/run.ts";
import type { LayerProgress } from "../runtime/index.ts";

/** Each report is a write to Redis, and a read by each that follows the run. */
const EVERY_MS = 250;

export class PullReport {
  readonly #begunMs = monotonicMs();
  readonly #layers = new Map<string, LayerProgress>();
  readonly #timer: NodeJS.Timeout;
  #told = "";
  #isTelling = false;

  /** Runs until `end`. `tell` may fail: what it would have told is told, newer, the next time. */
  constructor(tell: (pulling: Pulling) => Promise<void>) {
    this.#timer = setInterval(() => void this.#report(tell), EVERY_MS);
  }

  hear(layer: LayerProgress): void {
    this.#layers.set(layer.digest, layer);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  /** One at a time: while Redis is away nothing piles up. A rate that falls while nothing comes is no news. */
  async #report(tell: (pulling: Pulling) => Promise<void>): Promise<void> {
    const pulling = this.#sum();
    const news = JSON.stringify({ ...pulling, bytesPerSecond: 0 });
    if (this.#isTelling || news === this.#told) return;
    this.#isTelling = true;
    const told = await tell(pulling).then(
      () => news,
      () => "",
    );
    this.#told = told;
    this.#isTelling = false;
  }

  #sum(): Pulling {
    const lacking = [...this.#layers.values()].filter(({ state }) => state !== "present");
    const bytes = lacking.reduce((sum, layer) => sum + layer.bytes, 0);
    const seconds = (monotonicMs() - this.#begunMs) / 1000;
    return {
      layers: lacking.length,
      layersDone: lacking.filter(({ state }) => state === "done").length,
      bytes,
      size: lacking.reduce((sum, { size }) => sum + size, 0),
      bytesPerSecond: Math.round(bytes / seconds),
    };
  }
}
