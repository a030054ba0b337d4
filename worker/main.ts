// The worker's process: configuration in, one host in the cluster out. Ordered start, bounded stop.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { availableParallelism, hostname, totalmem } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { readConfig } from "../core/config.ts";
import { isErrno, MayflyError, toMayflyError } from "../core/errors.ts";
import { type Capacity, HOST_TTL_MS } from "../core/host.ts";
import { ClusterSecret } from "../core/host-token.ts";
import { newIncarnation } from "../core/ids.ts";
import { createLog } from "../core/log.ts";
import { VERSION } from "../core/version.ts";
import { createRuntime, type ImageRules } from "../runtime/index.ts";
import { startTelemetry } from "../telemetry/start.ts";
import { Ledger } from "./admission.ts";
import { attemptObserver } from "./attempts.ts";
import { WORKER_SETTINGS, type WorkerConfig } from "./config.ts";
import { drain } from "./drain.ts";
import { Duty } from "./duty.ts";
import { Executor } from "./executor.ts";
import { measureHost, pullMeter } from "./host-metrics.ts";
import { Heartbeat } from "./host-record.ts";
import { ClusterPeers } from "./images/peers.ts";
import { startImageService } from "./images/server.ts";
import { Intake } from "./intake.ts";
import { serveMetrics } from "./metrics-server.ts";
import { Offers } from "./offers.ts";
import { reconcile } from "./reconcile.ts";
import { connectOptional, connectRedis, Messages, RunStore } from "./run-store.ts";

/** The share of the machine's memory for runs; the rest is the kernel's, Redis' and ours. */
const MEMORY_SHARE = 0.8;

/** How long the last steps of stopping may take, after the drain limit. */
const STOP_MS = 15_000;

const log = createLog({ process: "worker" }, (line) => process.stdout.write(line));
process.stdout.on("error", () => {}); // Whoever read the log has gone; the work goes on.

try {
  await main(readConfig(WORKER_SETTINGS, process.env));
} catch (error) {
  log.error("worker.failed", { error: toMayflyError(error) });
  process.exit(1);
}

async function main(config: WorkerConfig): Promise<void> {
  const hostId = hostName(config.hostId ?? hostname());
  const incarnation = newIncarnation();
  await beAlone("MAYFLY_STATE_DIR", config.stateDir);
  await beAlone("MAYFLY_HOST_ID", hostId);
  const telemetry = await startTelemetry(process.env, { service: "mayfly-worker", instance: hostId }, log);
  const { metrics } = telemetry;
  const redis = connectRedis(config.redisUrl);
  const subscriber = redis.duplicate();
  const optional = connectOptional(redis);
  for (const client of [redis, subscriber, optional]) client.on("error", (error) => log.warn("redis.error", { error }));
  const peers = config.askPeers
    ? new ClusterPeers({ redis: optional, hostId, secret: new ClusterSecret(optional), log })
    : undefined;
  const runtime = await createRuntime({
    ...config,
    blanks: blanksOf(config),
    imageRules: rulesOf(config),
    hostId,
    peers,
    onPulled: pullMeter(metrics),
    log,
  });
  await Promise.all([redis.connect(), subscriber.connect(), optional.connect()]);
  peers?.start();

  const store = new RunStore(redis, config.retention, incarnation);
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  await ownName(store, hostId, bootId);
  const messages = new Messages(subscriber);
  const ledger = new Ledger(capacityOf(config));
  measureHost(metrics, ledger, runtime);
  const scraped = config.metricsListen && (await serveMetrics(metrics, config.metricsListen));
  const observe = attemptObserver(telemetry);
  const executor = new Executor({ runtime, store, messages, hostId, log, observe, keyring: config.secretsKeys });
  const intake = new Intake(executor.execute.bind(executor));
  const offers = new Offers({ pool: config.pool, hostId, incarnation, ledger, store, messages, intake, log });
  const secret = new ClusterSecret(redis);
  await secret.read();
  const images = await startImageService({
    listen: config.imagesListen,
    advertise: config.imagesAddress,
    maxArchiveBytes: config.maxArchive,
    runtime,
    secret,
    log,
  });
  const fixed = {
    ...{ id: hostId, bootId, incarnation, pool: config.pool, version: VERSION, driver: runtime.driver },
    imagesUrl: images.url,
  };
  const duty = new Duty({ redis, store, hostId, ledger, log, offers, abandonAll: () => executor.abandonAll() });
  const heartbeat = new Heartbeat({
    ...{ fixed, ledger, log },
    standing: () => duty.look(),
    publish: (record) => store.publishHost(record),
  });
  duty.onChange(() => void heartbeat.beat());

  await reconcile(runtime, store, hostId, log);
  await messages.onOrder(
    hostId,
    (order) => (order.verb === "duty" ? void heartbeat.beat() : executor.obey(order)),
    () => executor.lookAgain(),
  );
  await heartbeat.start();
  await offers.start();
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return executor.abandonAll(); // Asked twice: at once.
    stopping = true;
    log.info("worker.stopping", { signal });
    // Whatever hangs (Redis away, a sandbox that cannot be removed): the shims end their containers once we are gone.
    setTimeout(() => process.exit(1), config.drain + STOP_MS).unref();
    await drain({ offers, intake, executor, heartbeat, limitMs: config.drain, log });
    duty.stop();
    await heartbeat.stop();
    await store.removeHost(hostId);
    scraped?.close();
    await Promise.all([images.close(), peers?.close(), telemetry.stop()]);
    await runtime.close();
    redis.disconnect();
    subscriber.disconnect();
    optional.disconnect();
    log.info("worker.stopped");
    process.exit(0);
  };
  const stopOrFail = (signal: string) =>
    stop(signal).catch((error) => {
      log.error("worker.stop_failed", { error: toMayflyError(error) });
      process.exit(1);
    });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stopOrFail(signal));
  const { driver } = runtime;
  log.info("worker.ready", {
    host: hostId,
    pool: config.pool,
    driver,
    capacity: ledger.capacity,
    metrics: scraped?.url,
  });
}

function blanksOf({ blanksMin: min, blanksMax: max }: WorkerConfig): { min: number; max: number } {
  if (min <= max) return { min, max };
  throw new MayflyError("configuration_invalid", `MAYFLY_BLANKS_MIN=${min} is more than MAYFLY_BLANKS_MAX=${max}`);
}

function rulesOf({
  imagesAllow: allow,
  imagesDeny: deny,
  imagesRequireDigest: requireDigest,
}: WorkerConfig): ImageRules {
  return { allow, deny, requireDigest };
}

function capacityOf(config: WorkerConfig): Capacity {
  return {
    cpus: (config.cpus ?? availableParallelism()) * config.cpuOvercommit,
    memoryBytes: config.memory ?? Math.floor(totalmem() * MEMORY_SHARE),
    pids: config.pids,
    slots: config.slots,
  };
}

/** It is part of the names of cgroups, channels and keys. */
function hostName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name)) return name;
  throw new MayflyError(
    "configuration_invalid",
    `MAYFLY_HOST_ID=${JSON.stringify(name)} is not a name of letters, digits, "-", "_" and "."`,
  );
}

/**
 * Two workers with one state directory or one name would remove each other's sandboxes. An abstract socket is a lock that dies
 * with its holder; its name is hashed, because it may not be longer than 107 bytes.
 */
async function beAlone(variable: string, value: string): Promise<void> {
  const name = createHash("sha256").update(`${variable}=${value}`).digest("hex");
  const lock = createServer().unref();
  await new Promise<void>((resolve, reject) => {
    lock.once("error", (error) => {
      const inUse = isErrno(error, "EADDRINUSE");
      reject(
        inUse
          ? new MayflyError("configuration_invalid", `${variable}=${value} is in use by another worker of this machine`)
          : error,
      );
    });
    lock.listen(`\0mayfly-worker:${name}`, resolve);
  });
}

/**
 * Another machine may have the same name by mistake. One that is gone (or this one, before it was started again) leaves a record
 * that goes by itself; one that is still renewed is a rival.
 */
async function ownName(store: RunStore, hostId: string, bootId: string): Promise<void> {
  const rival = async () => ((await store.hostRecord(hostId))?.bootId ?? bootId) !== bootId;
  if (!(await rival())) return;
  log.warn("worker.name_taken", { host: hostId, waitMs: HOST_TTL_MS });
  await delay(HOST_TTL_MS);
  if (await rival())
    throw new MayflyError("configuration_invalid", `MAYFLY_HOST_ID=${hostId} is in use by a worker of another machine`);
}
