// Waits for a batch's end, and shows how far it is. Ctrl-C leaves the batch alone: it goes on without a watcher.

import type { Batch } from "../core/batch.ts";
import { ProgressBar } from "./batch-progress.ts";
import type { Client } from "./client.ts";
import type { Io } from "./io.ts";
import { createPatience, pause } from "./patience.ts";

const LOOK_MS = 500;
const RETRIES = 8;

/** Throws ClientError if the gateway stays away. */
export async function watchBatch(id: string, { client, io }: { client: Client; io: Io }): Promise<Batch> {
  const bar = new ProgressBar(io);
  const patience = createPatience({ limit: RETRIES, stepMs: LOOK_MS });
  try {
    for (;;) {
      try {
        const batch = await client.batches.inspect(id);
        if (batch.state === "finished" || batch.state === "cancelled") return batch;
        patience.progress();
        await bar.draw(() => batch);
        await pause(LOOK_MS, undefined);
      } catch (error) {
        await patience.afterFailure(error);
      }
    }
  } finally {
    await bar.clear();
  }
}
