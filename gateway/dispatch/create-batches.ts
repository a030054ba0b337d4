// Batches, put together from the gateway's settings: what the routes use, and what feeds them.

import type { Redis } from "ioredis";
import { channels } from "../../core/keys.ts";
import type { Log } from "../../core/log.ts";
import { Batches } from "../batches/batches.ts";
import { Feeder } from "../batches/feeder.ts";
import type { GatewayConfig } from "../config.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import { BatchResults } from "./batch-results.ts";
import { BatchStore } from "./batch-store.ts";
import type { Orders } from "./orders.ts";
import type { Signals } from "./signals.ts";

export interface BatchesNeed {
  readonly redis: Redis;
  readonly subscriber: Redis;
  readonly signals: Signals;
  readonly orders: Orders;
  readonly webhooks: Pick<Webhooks, "destinations">;
  readonly config: GatewayConfig;
  readonly log: Log;
}

export function createBatches({ redis, subscriber, signals, orders, webhooks, config, log }: BatchesNeed): {
  batches: Batches;
  feeder: Feeder;
} {
  const { maxBatchItems, maxBatchLine, maxBatchWaiting, maxBatches, batchIdle, maxQueued, maxKept, retention } = config;
  const store = new BatchStore(redis, orders, {
    maxItems: maxBatchItems,
    maxWaitingBytes: maxBatchWaiting,
    maxBatches,
    idleMs: batchIdle,
    maxQueued,
    maxKept,
    retentionMs: retention,
  });
  const rules = { pools: config.pools, destinations: webhooks.destinations, maxLineBytes: maxBatchLine };
  const batches = new Batches({
    store,
    results: new BatchResults(redis),
    signals,
    rules,
    maxStreams: config.maxWaiting,
  });
  const feeder = new Feeder(store, log);
  subscriber.on("message", (channel: string, id: string) => {
    if (channel === channels.batches) feeder.tell(id);
  });
  // Once it is connected, and again whenever it is: ioredis subscribes anew by itself to what it was subscribed to.
  subscriber.once("ready", () => void subscriber.subscribe(channels.batches).catch(() => {})); // The feeder looks besides.
  return { batches, feeder };
}
