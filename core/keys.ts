// Every name that Mayfly uses in Redis. All share one hash tag, so that one script may touch several of them in a cluster.

const TAG = "{mayfly}";

export const keys = {
  /** Hash: the record of a run (record.ts). */
  run: (id: string) => `${TAG}:run:${id}`,
  /** String: what the program is to read; complete once the record says `stdinClosed`. */
  stdin: (id: string) => `${TAG}:run:${id}:stdin`,
  /** String: the files that the run brings along, as JSON; gone when it has finished. */
  files: (id: string) => `${TAG}:run:${id}:files`,
  /** Hash: where in `artifactTar` the bytes of each of the run's artifacts are, and what is told of it, by its path (artifacts.ts). */
  artifacts: (id: string) => `${TAG}:run:${id}:artifacts`,
  /** String: the run's artifacts, as the tar that is answered. */
  artifactTar: (id: string) => `${TAG}:run:${id}:artifact-tar`,
  /** Strings: the kept bytes of each stream, so that an offset is a byte offset. */
  output: (id: string, stream: "stdout" | "stderr") => `${TAG}:run:${id}:${stream}`,
  /** Set: ids of the gateways that have a request waiting for the run. */
  waiters: (id: string) => `${TAG}:run:${id}:waiters`,
  /** Sorted set: unfinished runs by the moment (Redis time, ms) at which their present state is over-long. */
  deadlines: `${TAG}:deadlines`,
  /** Sorted set: queued runs of a pool, by when they came to wait. Its size is what the queue's limit bounds. */
  queued: (pool: string) => `${TAG}:queued:${pool}`,
  /** Set: tenants of whom runs of a pool wait for room. */
  lines: (pool: string) => `${TAG}:lines:${pool}`,
  /** Sorted set: runs of one tenant that wait for room, by priority and then by id, and so by creation. `of` is `<pool>:<tenant>`. */
  line: (of: string) => `${TAG}:line:${of}`,
  /** Sorted set: runs that are not to start before a moment (Redis time, ms). */
  delayed: `${TAG}:delayed`,
  /** Hash: by concurrency key, how many runs of a tenant are through its gate: in line, or on a host. */
  gates: (tenant: string) => `${TAG}:gates:${tenant}`,
  /** Sorted set: runs before a gate, by priority and then by id. `of` is `<tenant>:<key>`. */
  gate: (of: string) => `${TAG}:gate:${of}`,
  /** Hash: what each tenant has had of a pool's hosts (share-parts.ts). */
  shares: (pool: string) => `${TAG}:shares:${pool}`,
  /** Hash: how many runs of a pool were started in each of the last periods (share-parts.ts). */
  pace: (pool: string) => `${TAG}:pace:${pool}`,
  /** Hash: what a tenant has now: queued, running, cpus, memoryBytes. */
  use: (tenant: string) => `${TAG}:use:${tenant}`,
  /** String with a time to live: the holder that keeps its room for a run which needs more than is free there. */
  reserved: (id: string) => `${TAG}:reserved:${id}`,
  /** String with a time to live: digest of the body and id of the run that was made with an idempotency key. `of` is `<tenant>:<digest of the key>`. */
  idempotency: (of: string) => `${TAG}:idempotency:${of}`,
  /** Hash: the room that hosts of a pool offer to runs that come, by holder (offer.ts). */
  offers: (pool: string) => `${TAG}:offers:${pool}`,
  /** Sorted set: runs of a tenant that have something in common, score 0, ordered by id and so by creation. `of` is `<tenant>:<facet>` (index-parts.ts). */
  facet: (of: string) => `${TAG}:runs:${of}`,
  /** Sorted set: the tenants that have runs, score 0. */
  filed: `${TAG}:filed`,
  /** Sorted set: finished runs, by the moment (Redis time, ms) at which they are forgotten. */
  finished: `${TAG}:finished`,
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
  /** Hash: what a tenant may have (tenant.ts): weight, running, queued, cpus, memoryBytes, rate, burst. */
  tenant: (name: string) => `${TAG}:tenant:${name}`,
  /** Sorted set: the names of tenants that have settings or keys, score 0. */
  tenants: `${TAG}:tenants`,
  /** Hash: an API key, by its id: the SHA-256 of it, never the key. */
  apiKey: (id: string) => `${TAG}:key:${id}`,
  /** Sorted set: `TENANT ID` of all API keys, score 0, and so in the order of tenants. */
  apiKeys: `${TAG}:keys`,
  /** Hash with a time to live: how many requests a tenant may make now, and when that was so. */
  bucket: (tenant: string) => `${TAG}:bucket:${tenant}`,
  /** Hash: a batch of runs (batch-parts.ts). Beside it, `:items` and `:shapes` those that wait, `:live` its runs that have not ended, `:ends` and `:done` what came of it. */
  batch: (id: string) => `${TAG}:batch:${id}`,
  /** Sorted set: batches that something is to be done about, by the moment (Redis time, ms) from which on. */
  batchesDue: `${TAG}:batches-due`,
  /** Sorted set: all kept batches of a tenant, score 0, ordered by id and so by creation. */
  batches: (tenant: string) => `${TAG}:batches:${tenant}`,
  /** Hash: a secret, sealed. `of` is `<tenant, or * for all>:<name>`. */
  sealed: (of: string) => `${TAG}:sealed:${of}`,
  /** Sorted set: `TENANT NAME` of all secrets, score 0. */
  secrets: `${TAG}:secrets`,
  /** Hash: an upload (uploads.ts): tenant, bytes, entries, createdAt, expiresAt; without the last it still comes in. */
  upload: (id: string) => `${TAG}:upload:${id}`,
  /** List: its pieces, in order. */
  uploadPieces: (id: string) => `${TAG}:upload:${id}:pieces`,
  /** Sorted set: the runs and batches for which it is kept, by when they named it. */
  uploadUsers: (id: string) => `${TAG}:upload:${id}:users`,
  /** Hash: by its id, how many bytes each of a tenant's uploads takes. */
  uploadsOf: (tenant: string) => `${TAG}:uploads:${tenant}`,
  /** Sorted set: `TENANT ID` of all uploads, by the moment (Redis time, ms) at which it is looked whether they are to go. */
  uploadsDue: `${TAG}:uploads-due`,
  /** Hash: a schedule. `of` is `<tenant>:<name>`. */
  schedule: (of: string) => `${TAG}:schedule:${of}`,
  /** Sorted set: `TENANT NAME` of all schedules, score 0. */
  schedules: `${TAG}:schedules`,
  /** Sorted set: what is to be told by webhook, such as `run:<id>`, by the moment (Redis time, ms) from which it is due. */
  webhooks: `${TAG}:webhooks`,
  /** Hash: what is told of: a run, or what else has the fields `state`, `tenant` and, with the host's name in it, `webhook`. */
  subject: (entry: string) => `${TAG}:${entry}`,
  /** Hash: the attempts to deliver an entry of `webhooks`. It lasts as long as what is told of. */
  deliveries: (entry: string) => `${TAG}:deliveries:${entry}`,
  /** Sorted set: what a tenant's deliveries are signed with, by the moment until which it is. */
  webhookSecrets: (tenant: string) => `${TAG}:webhook-secrets:${tenant}`,
} as const;

/** Pub/sub channels. Best effort all of them: whoever listens reads the truth from the record. */
export const channels = {
  /** To a gateway: a run that it waits for has finished (told.ts). */
  gateway: (id: string) => `${TAG}:gateway:${id}`,
  /** To a host: an order about a run that it holds (control.ts). */
  host: (id: string) => `${TAG}:to-host:${id}`,
  /** To one life of a worker: a run that it is given for the room it offered (offer.ts). */
  handed: (holder: string) => `${TAG}:handed:${holder}`,
  /** To the hosts of a pool: a run has come to wait where none did. The message is empty. */
  waits: (pool: string) => `${TAG}:waits:${pool}`,
  /** About a run: something changed (state or output). The message is empty. */
  changed: (id: string) => `${TAG}:changed:${id}`,
  /** About a run: there is more of its stdin. The message is empty. */
  input: (id: string) => `${TAG}:input:${id}`,
  /** To every gateway: something is to be done about the batch of this id. */
  batches: `${TAG}:batches`,
  /** To every gateway: `key ID` or `tenant NAME` is not what it was. */
  access: `${TAG}:access`,
} as const;

/** The keys of each script of transitions.ts, in its order. */
export const transitionKeys = {
  /** And the sets by which the run is found for good. */
  submit: (id: string, pool: string, facets: readonly string[]) => [
    keys.run(id),
    keys.waiters(id),
    keys.stdin(id),
    keys.offers(pool),
    ...facets,
  ],
  recall: (id: string) => [keys.run(id)],
  offer: (pool: string) => [keys.offers(pool)],
  withdraw: (pool: string) => [keys.offers(pool)],
  tend: (pool: string) => [keys.offers(pool)],
  why: (id: string, pool: string) => [keys.run(id), keys.offers(pool)],
  started: (id: string) => [keys.run(id), keys.deadlines],
  renew: (id: string) => [keys.run(id), keys.deadlines],
  release: (id: string) => [keys.run(id), keys.deadlines],
  finish: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines],
  again: (id: string) => [keys.run(id), keys.deadlines],
  cancel: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines],
  overdue: (id: string) => [keys.run(id), keys.waiters(id), keys.deadlines],
  append: (id: string, stream: "stdout" | "stderr") => [keys.run(id), keys.output(id, stream)],
  feed: (id: string) => [keys.run(id), keys.stdin(id)],
  resize: (id: string) => [keys.run(id)],
  watch: (id: string) => [keys.run(id), keys.waiters(id)],
  pulling: (id: string) => [keys.run(id)],
} as const;
