// The gateway's process: configuration in, an HTTP server out. Ordered start, bounded stop.

import { once } from "node:events";
import type { Server } from "node:http";
import { isIP } from "node:net";
import { serve } from "@hono/node-server";
import { readConfig } from "../core/config.ts";
import { MayflyError, toMayflyError } from "../core/errors.ts";
import { newIncarnation } from "../core/ids.ts";
import { createLog } from "../core/log.ts";
import { startTelemetry } from "../telemetry/start.ts";
import { type FindCaller, parseApiKeys } from "./api-keys.ts";
import { createApp } from "./app.ts";
import { GATEWAY_SETTINGS, type GatewayConfig } from "./config.ts";
import { Access } from "./dispatch/access.ts";
import { createBatches } from "./dispatch/create-batches.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import { Duties } from "./dispatch/duties.ts";
import { Hosts } from "./dispatch/hosts.ts";
import { countRuns, measureQueues, observeSettled } from "./dispatch/queue-metrics.ts";
import { Reaper } from "./dispatch/reaper.ts";
import { clusterSecret, connectRedis, connectSubscriber, scriptsOn } from "./dispatch/redis.ts";
import { RunStore } from "./dispatch/run-store.ts";
import { ScheduleStore } from "./dispatch/schedule-store.ts";
import { Schedules } from "./dispatch/schedules.ts";
import { SecretStore } from "./dispatch/secret-store.ts";
import { Signals } from "./dispatch/signals.ts";
import { UploadStore } from "./dispatch/upload-store.ts";
import { dropPrivileges } from "./privileges.ts";
import { Deliverer } from "./webhooks/deliverer.ts";
import { batchNotice, runNotice } from "./webhooks/notice.ts";
import { createWebhooks } from "./webhooks/webhooks.ts";

/** How long answers under way may take once the gateway is told to stop. Who waits for a run can ask another gateway. */
const STOP_MS = 5_000;

/**
 * How long an idle connection is kept: longer than callers and proxies keep theirs (Go 90 s, most balancers 60 s), so that it is they who
 * close it. One that is closed here just as a request comes is a request that fails, and Node's 5 s make that likely.
 */
const KEEP_ALIVE_MS = 95_000;

/** How long a request may take to come: the largest archive of images over a slow line. */
const REQUEST_MS = 6 * 3_600_000;

/** How long a connection may be silent in the middle of a request: longer than the longest wait for a run (5 min). */
const IDLE_MS = 360_000;

const log = createLog({ process: "gateway" }, (line) => process.stdout.write(line));
process.stdout.on("error", () => {}); // Whoever read the log has gone; the work goes on.

try {
  await main(readConfig(GATEWAY_SETTINGS, process.env));
} catch (error) {
  log.error("gateway.failed", { error: toMayflyError(error) });
  process.exit(1);
}

async function main(config: GatewayConfig): Promise<void> {
  const findInFile = config.apiKeys === undefined ? undefined : parseApiKeys(config.apiKeys);
  if (!findInFile && !isLoopback(config.listenHost)) {
    throw new MayflyError(
      "configuration_invalid",
      `MAYFLY_LISTEN_HOST=${config.listenHost} is not a loopback address: set MAYFLY_API_KEYS_FILE`,
    );
  }
  const gatewayId = newIncarnation();
  const telemetry = await startTelemetry(process.env, { service: "mayfly-gateway", instance: gatewayId }, log);
  const redis = connectRedis(config.redisUrl);
  const subscriber = connectSubscriber(config.redisUrl);
  for (const client of [redis, subscriber]) client.on("error", (error) => log.warn("redis.error", { error }));
  const access = new Access(redis);
  // Keys in Redis count only where there are keys at all: what Redis holds, or has lost, opens no gateway and closes none.
  const findCaller: FindCaller | undefined = findInFile && ((key) => findInFile(key) ?? access.findCaller(key));
  const signals = new Signals(subscriber, gatewayId);
  const {
    maxQueued,
    maxKept,
    maxStdin: maxStdinBytes,
    retention: retentionMs,
    maxWaiting,
    maxBody: maxBodyBytes,
    maxArchive: maxArchiveBytes,
    maxUpload: maxUploadBytes,
  } = config;
  const count = countRuns(telemetry);
  measureQueues(telemetry, redis, config.pools);
  const onQueuedCancelled = () => count("cancelled");
  const store = new RunStore({ redis, maxQueued, maxKept, maxStdinBytes, retentionMs, onQueuedCancelled });
  const dispatcher = new Dispatcher({ store, signals, gatewayId, maxWaiting, pools: config.pools });
  const hosts = new Hosts({ store, secret: clusterSecret(redis) });
  const duties = new Duties(redis, hosts);
  const { webhookAllow: allow, webhookTimeout: timeoutMs, webhookAttempts: maxTries } = config;
  const webhooks = createWebhooks(scriptsOn(redis), { allow, timeoutMs });
  const { batches, feeder } = createBatches({
    redis,
    subscriber,
    signals,
    config,
    orders: store.orders,
    webhooks,
    log,
  });
  const schedules = new Schedules({
    redisUrl: config.redisUrl,
    store: new ScheduleStore(redis),
    runs: dispatcher,
    log,
  });
  const secrets = new SecretStore(redis, config.secretsKeys);
  const uploads = new UploadStore(redis, { ofTenantBytes: config.tenantUploads, lifeMs: config.uploadLife });
  const limits = { maxBodyBytes, maxArchiveBytes, maxStdinBytes, maxUploadBytes };
  const app = createApp({
    dispatcher,
    hosts,
    access,
    batches,
    webhooks,
    duties,
    schedules,
    secrets,
    uploads,
    findCaller,
    ...limits,
    log,
    telemetry,
  });
  const reaper = new Reaper(store, config.pools, log, observeSettled(telemetry, redis, count));
  const sources = {
    run: runNotice((id, tenant) => store.get(id, tenant)),
    batch: batchNotice((id, tenant) => batches.store.get(id, tenant)),
  };
  const deliverer = new Deliverer({ ...webhooks, sources, maxTries, timeoutMs, log });

  // A Redis that is away now is no reason not to start: callers are told 503 until it is there.
  redis.connect().catch(() => {});
  subscriber.connect().catch(() => {});
  access.start(subscriber).catch((error) => log.warn("redis.error", { error }));
  signals.start().catch((error) => log.warn("redis.error", { error }));
  const server = await listen(app.fetch, config);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.requestTimeout = REQUEST_MS;
  server.timeout = IDLE_MS;
  const user = dropPrivileges(config.user);
  reaper.start();
  deliverer.start();
  schedules.start();
  feeder.start();
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info("gateway.stopping", { signal });
    const closed = once(server, "close");
    server.close();
    server.closeIdleConnections();
    // Who still waits then is answered with the run as it is, and can ask another gateway.
    setTimeout(() => {
      dispatcher.leave();
      batches.leave();
    }, STOP_MS).unref();
    setTimeout(() => server.closeAllConnections(), STOP_MS + 1_000).unref();
    setTimeout(() => process.exit(1), 2 * STOP_MS).unref();
    await Promise.all([closed, reaper.close(), deliverer.close(), schedules.close(), feeder.close()]);
    await Promise.all([hosts.close(), telemetry.stop()]);
    redis.disconnect();
    subscriber.disconnect();
    log.info("gateway.stopped");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
  const { address, family, port } = server.address() as { address: string; family: string; port: number };
  log.info("gateway.listening", {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    gateway: gatewayId,
    user,
  });
  if (!findCaller)
    log.warn("gateway.open", {
      message: "there are no API keys: everybody on this machine may run containers (MAYFLY_API_KEYS_FILE)",
    });
}

function listen(fetch: Parameters<typeof serve>[0]["fetch"], config: GatewayConfig): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, hostname: config.listenHost, port: config.listenPort }, () =>
      resolve(server),
    ) as Server;
    server.once("error", (error) =>
      reject(
        new MayflyError(
          "configuration_invalid",
          `cannot listen on MAYFLY_LISTEN_HOST=${config.listenHost}, MAYFLY_LISTEN_PORT=${config.listenPort}: ${error.message}`,
        ),
      ),
    );
  });
}

function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith("127.");
  return host === "::1" || host === "localhost";
}
