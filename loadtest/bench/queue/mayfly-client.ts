// The gateway's half of Mayfly's queue, without HTTP: its dispatcher, as gateway/main.ts puts it together.

import { newIncarnation } from "../../../core/ids.ts";
import { RunRequest } from "../../../core/request.ts";
import { Dispatcher } from "../../../gateway/dispatch/dispatcher.ts";
import { connectRedis, connectSubscriber } from "../../../gateway/dispatch/redis.ts";
import { RunStore } from "../../../gateway/dispatch/run-store.ts";
import { Signals } from "../../../gateway/dispatch/signals.ts";
import type { QueueClient } from "./queue-client.ts";

const LIMIT_MS = 10_000;
const ROOM = { maxQueued: 10_000, maxKept: 1_000_000, maxStdinBytes: 1_000_000, retentionMs: 600_000 };
const REQUEST = RunRequest.parse({ image: "bench/nothing", command: ["true"] });

export async function openMayflyQueue(url: string): Promise<QueueClient> {
  const gatewayId = newIncarnation();
  const [redis, subscriber] = [connectRedis(url), connectSubscriber(url)];
  await Promise.all([redis.connect(), subscriber.connect()]);
  const signals = new Signals(subscriber, gatewayId);
  await signals.start();
  const store = new RunStore({ redis, ...ROOM });
  const dispatcher = new Dispatcher({ store, signals, gatewayId, maxWaiting: 1_000, pools: ["default"] });
  return {
    async call() {
      const wait = { waitMs: LIMIT_MS, signal: AbortSignal.timeout(LIMIT_MS) };
      const { record } = await dispatcher.submit(REQUEST, "bench", wait);
      const { state, outcome } = record;
      if (outcome?.kind !== "exited") throw new Error(`the run is ${state}: ${JSON.stringify(outcome)}`);
    },
    async close() {
      dispatcher.leave();
      for (const client of [redis, subscriber]) client.disconnect();
    },
  };
}
