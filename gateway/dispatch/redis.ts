// The gateway's connections to Redis. They fail fast: a caller is told 503 at once rather than kept waiting, and the
// connection comes back by itself.

import { Redis } from "ioredis";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { ClusterSecret } from "../../core/host-token.ts";
import type { Transition } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";

/** How long one command may take. A Redis that is this slow is away, as far as a caller can tell. */
const COMMAND_MS = 5_000;

/** Answers of a Redis that is there but cannot serve now; any other error reply is a fault of ours. */
const NOT_NOW = /^(LOADING|READONLY|OOM|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|TRYAGAIN|BUSY)\b/;

export function connectRedis(url: string | undefined): Redis {
  return new Redis(url ?? "redis://127.0.0.1:6379/0", {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    // A command whose answer was lost may have been carried out; its caller is told 503, and it is not sent again.
    autoResendUnfulfilledCommands: false,
    commandTimeout: COMMAND_MS,
    retryStrategy: (tries) => Math.min(50 * tries, 1_000),
  });
}

/** Listens only. It waits for Redis as long as it takes, and subscribes again by itself. */
export function connectSubscriber(url: string | undefined): Redis {
  return new Redis(url ?? "redis://127.0.0.1:6379/0", {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    retryStrategy: (tries) => Math.min(50 * tries, 1_000),
  });
}

/** Runs a piece of work on Redis; if Redis is the reason that it fails, says so as `queue_unavailable`. */
export async function onRedis<T>(redis: Redis, work: () => Promise<T>): Promise<T> {
  if (redis.status !== "ready") throw new MayflyError("queue_unavailable", `Redis does not answer (${redis.status})`);
  try {
    return await work();
  } catch (error) {
    if (isMayflyError(error) || isOurFault(error)) throw error;
    throw new MayflyError("queue_unavailable", "Redis does not answer", { cause: error });
  }
}

function isOurFault(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError" && !NOT_NOW.test(error.message);
}

/** What requests to hosts are signed with. A Redis that is away is `queue_unavailable` here too. */
export function clusterSecret(redis: Redis): ClusterSecret {
  return new ClusterSecret({
    set: (key, value, condition) => onRedis(redis, () => redis.set(key, value, condition)),
    get: (key) => onRedis(redis, () => redis.get(key)),
  });
}

/** Runs a script for those who need not know what Redis is. */
export function scriptsOn(
  redis: Redis,
): (script: Transition, names: readonly string[], args: readonly (string | number)[]) => Promise<unknown> {
  return (script, names, args) => onRedis(redis, () => runTransition(redis, script, names, args));
}
