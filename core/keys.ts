// Every name that Mayfly uses in Redis. All share one hash tag, so that one script may touch several of them in a cluster.

const TAG = "{mayfly}";

/** BullMQ's own keys live under this prefix; its queue of a pool is named `runs-<pool>`. */
export const QUEUE_PREFIX = TAG;
export const queueName = (pool: string): string => `runs-${pool}`;

export const keys = {
  /** Hash: the record of a run (record.ts). */
  run: (id: string) => `${TAG}:run:${id}`,
  /** String: what the program is to read; complete once the record says `stdinClosed`. */
  stdin: (id: string) => `${TAG}:run:${id}:stdin`,
  /** Strings: the kept bytes of each stream, so that an offset is a byte offset. */
  output: (id: string, stream: "stdout" | "stderr") => `${TAG}:run:${id}:${stream}`,
  /** Set: ids of the gateways that have a request waiting for the run. */
  waiters: (id: string) => `${TAG}:run:${id}:waiters`,
  /** Sorted set: unfinished runs by the moment (Redis time, ms) at which their present state is over-long. */
  deadlines: `${TAG}:deadlines`,
  /** Sorted set: queued runs of a pool, by when they came to wait. Its size is what the queue's limit bounds. */
  queued: (pool: string) => `${TAG}:queued:${pool}`,
  /** Hash: the room that hosts of a pool offer to runs that come, by holder (offer.ts). */
  offers: (pool: string) => `${TAG}:offers:${pool}`,
  /** Sorted set: all kept runs of a tenant, score 0, ordered by id and so by creation. */
  index: (tenant: string) => `${TAG}:runs:${tenant}`,
  /** String with a time to live: a host's record (host.ts). */
  host: (id: string) => `${TAG}:host:${id}`,
  /** String: what an operator has told a host, JSON (host.ts). Outlives the worker. */
  duty: (host: string) => `${TAG}:duty:${host}`,
  /** Sorted set: ids of hosts by their last heartbeat (Redis time, ms). */
  hosts: `${TAG}:hosts`,
  /** String: what members of the cluster sign requests to each other with (host-token.ts). */
  secret: `${TAG}:secret`,
  /** Sorted set: ids of the hosts that have a blob, by the moment (Redis time, ms) from which they are not to be believed. */
  blob: (hex: string) => `${TAG}:blob:${hex}`,
  /** String with a time to live: who fetches the blob from its registry now. */
  fetch: (hex: string) => `${TAG}:fetch:${hex}`,
} as const;

/** Pub/sub channels. Best effort all of them: whoever listens reads the truth from the record. */
export const channels = {
  /** To a gateway: a run that it waits for has finished (told.ts). */
  gateway: (id: string) => `${TAG}:gateway:${id}`,
  /** To a host: an order about a run that it holds (control.ts). */
  host: (id: string) => `${TAG}:to-host:${id}`,
  /** To one life of a worker: a run that it is given for the room it offered (offer.ts). */
  handed: (holder: string) => `${TAG}:handed:${holder}`,
  /** About a run: something changed (state or output). The message is empty. */
  changed: (id: string) => `${TAG}:changed:${id}`,
  /** About a run: there is more of its stdin. The message is empty. */
  input: (id: string) => `${TAG}:input:${id}`,
} as const;

/** The keys of each script of transitions.ts, in its order. */
export const transitionKeys = {
  submit: (id: string, tenant: string, pool: string) => [
    keys.run(id),
    keys.waiters(id),
    keys.deadlines,
    keys.queued(pool),
    keys.index(tenant),
    keys.stdin(id),
    keys.offers(pool),
  ],
  claim: (id: string, pool: string) => [keys.run(id), keys.deadlines, keys.offers(pool)],
  offer: (pool: string) => [keys.offers(pool)],
  withdraw: (pool: string) => [keys.offers(pool)],
  started: (id: string) => [keys.run(id), keys.deadlines],
  renew: (id: string) => [keys.run(id), keys.deadlines],
  release: (id: string) => [keys.run(id), keys.deadlines],
  finish: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines],
  cancel: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines],
  overdue: (id: string) => [
    keys.run(id),
    keys.waiters(id),
    keys.deadlines,
    keys.output(id, "stdout"),
    keys.output(id, "stderr"),
  ],
  append: (id: string, stream: "stdout" | "stderr") => [keys.run(id), keys.output(id, stream)],
  feed: (id: string) => [keys.run(id), keys.stdin(id)],
  resize: (id: string) => [keys.run(id)],
  watch: (id: string) => [keys.run(id), keys.waiters(id)],
  pulling: (id: string) => [keys.run(id)],
} as const;
