// POST /images/pull: an image made ready, told as server-sent events (PullEvent of core/images.ts). The last is `ready` or `failed`.

import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { Bell } from "../../core/bell.ts";
import { toMayflyError } from "../../core/errors.ts";
import type { PullEvent } from "../../core/images.ts";
import type { Log } from "../../core/log.ts";
import type { LayerProgress, PullPolicy, Runtime } from "../../runtime/index.ts";

/** Whoever waits must hear something now and then, or take this host for dead. */
const KEEP_ALIVE_MS = 15_000;

/** Ten times a second: people see no more. */
const INTERVAL_MS = 100;

export interface Pull {
  readonly ensureImage: Runtime["ensureImage"];
  readonly reference: string;
  readonly pull: PullPolicy | undefined;
  readonly log: Log;
}

/** The image is not held when it is there. A reader that goes away ends its share in the pull; others may have theirs. */
export function streamPull(c: Context, { ensureImage, reference, pull, log }: Pull): Response {
  const gone = new AbortController();
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    const progress = new Progress();
    const last = ensureImage(reference, gone.signal, { pull, onProgress: (layer) => progress.tell(layer) })
      .then(
        (image): PullEvent => {
          image.release();
          return { kind: "ready", reference: image.reference, digest: image.digest, layers: image.layers.length };
        },
        (error): PullEvent => failed(error, reference, { log, gone: gone.signal }),
      )
      .finally(() => progress.end());
    const keepAlive = setInterval(() => void stream.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
    const send = (event: PullEvent) => stream.writeSSE({ event: event.kind, data: JSON.stringify(event) });
    try {
      for await (const { digest, state, bytes, size } of progress.changes())
        await send({ kind: "layer", digest, state, bytes, size });
      await send(await last);
    } finally {
      clearInterval(keepAlive);
    }
  });
}

function failed(thrown: unknown, reference: string, { log, gone }: { log: Log; gone: AbortSignal }): PullEvent {
  const error = toMayflyError(thrown);
  if (!gone.aborted) log.warn("image.pull_failed", { image: reference, error });
  const message = error.code === "internal" ? "the fault is in this host's log" : error.message;
  return { kind: "failed", reason: error.reason, message };
}

/** The newest of each layer, now and then: a reader that is slow is told less, and nothing piles up. */
class Progress {
  readonly #bell = new Bell();
  #news = new Map<string, LayerProgress>();
  readonly #over = new AbortController();

  tell(layer: LayerProgress): void {
    this.#news.set(layer.digest, layer);
    this.#bell.ring();
  }

  end(): void {
    this.#over.abort();
    this.#bell.ring();
  }

  async *changes(): AsyncGenerator<LayerProgress, void> {
    for (;;) {
      await this.#bell.wait();
      const { aborted } = this.#over.signal;
      const news = this.#news;
      this.#news = new Map();
      yield* news.values();
      if (aborted) return;
      await sleep(INTERVAL_MS, undefined, { signal: this.#over.signal }).catch(() => {}); // Its end is told at once.
    }
  }
}
