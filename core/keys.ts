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
  /** Sorted set: queued runs, by creation. Its size is what the queue's limit bounds. */
  queued: `${TAG}:queued`,
  /** Sorted set: all kept runs of a tenant, score 0, ordered by id and so by creation. */
  index: (tenant: string) => `${TAG}:runs:${tenant}`,
  /** String with a time to live: a host's record (host.ts). */
  host: (id: string) => `${TAG}:host:${id}`,
  /** Sorted set: ids of hosts by their last heartbeat (Redis time, ms). */
  hosts: `${TAG}:hosts`,
} as const;

/** Pub/sub channels. Best effort all of them: whoever listens reads the truth from the record. */
export const channels = {
  /** To a gateway: the id of a run that has finished. */
  gateway: (id: string) => `${TAG}:gateway:${id}`,
  /** To a host: an order about a run that it holds (control.ts). */
  host: (id: string) => `${TAG}:to-host:${id}`,
  /** About a run: something changed (state or output). The message is empty. */
  changed: (id: string) => `${TAG}:changed:${id}`,
  /** About a run: there is more of its stdin. The message is empty. */
  input: (id: string) => `${TAG}:input:${id}`,
} as const;

/** The keys of each script of transitions.ts, in its order. */
export const transitionKeys = {
  submit: (id: string, tenant: string) => [
    keys.run(id),
    keys.waiters(id),
    keys.deadlines,
    keys.queued,
    keys.index(tenant),
    keys.stdin(id),
  ],
  claim: (id: string) => [keys.run(id), keys.deadlines, keys.queued],
  started: (id: string) => [keys.run(id), keys.deadlines],
  renew: (id: string) => [keys.run(id), keys.deadlines],
  release: (id: string) => [keys.run(id), keys.deadlines],
  finish: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines, keys.queued],
  cancel: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines, keys.queued],
  overdue: (id: string) => [
    keys.run(id),
    keys.waiters(id),
    keys.deadlines,
    keys.queued,
    keys.output(id, "stdout"),
    keys.output(id, "stderr"),
  ],
  append: (id: string, stream: "stdout" | "stderr") => [keys.run(id), keys.output(id, stream)],
  feed: (id: string) => [keys.run(id), keys.stdin(id)],
  resize: (id: string) => [keys.run(id)],
  watch: (id: string) => [keys.run(id), keys.waiters(id)],
} as const;
