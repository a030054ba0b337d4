// Every setting of the gateway. `docs/configuration.md` is printed from this table and held to it by a test.

import { BATCH_BOUNDS } from "../core/batch.ts";
import { type Config, count, duration, list, optional, redisUrlFile, secretFile, size, text } from "../core/config.ts";
import { keyringFile } from "../core/secret.ts";
import { UPLOAD_DEFAULTS } from "../core/uploads.ts";
import { ALLOW_FORM, parseAllowList } from "./webhooks/allow-list.ts";
import { MAX_ATTEMPTS } from "./webhooks/schedule.ts";

export const GATEWAY_SETTINGS = {
  listenHost: text("MAYFLY_LISTEN_HOST", "The address to listen on. Other than a loopback address only with keys.", {
    fallback: "127.0.0.1",
  }),
  listenPort: count("MAYFLY_LISTEN_PORT", "The port to listen on; 0 takes a free one.", {
    fallback: "8080",
    max: 65_535,
  }),
  redisUrl: redisUrlFile("MAYFLY_REDIS_URL_FILE"),
  apiKeys: secretFile(
    "MAYFLY_API_KEYS_FILE",
    "A file of API keys: a line each, `TENANT SHA256`, the key's SHA-256 in hex, and the word `operator` behind if the key is an operator's, with the scope `admin`. Keys that `mayfly keys` makes count beside them. Without it every caller is tenant `default`, on loopback only, and may do everything.",
  ),
  user: text("MAYFLY_GATEWAY_USER", "The user that the gateway becomes when it is started as root.", {
    fallback: "nobody",
  }),
  maxBody: size("MAYFLY_MAX_BODY", "The largest request body; more is refused with 413.", { fallback: "8MiB" }),
  maxArchive: size("MAYFLY_MAX_ARCHIVE_BYTES", "The largest archive of images that may be loaded.", {
    fallback: "20GiB",
  }),
  maxStdin: size(
    "MAYFLY_MAX_STDIN",
    "The most that a run may be sent as stdin, in all; it is held in Redis until the run is over.",
    { fallback: "64MiB" },
  ),
  maxUpload: size("MAYFLY_MAX_UPLOAD", "The largest upload: its files and their paths, unpacked.", {
    fallback: UPLOAD_DEFAULTS.bytes,
  }),
  tenantUploads: size(
    "MAYFLY_TENANT_UPLOADS",
    "What all uploads of one tenant may have at once; they are held in Redis. More are refused with 429.",
    { fallback: UPLOAD_DEFAULTS.ofTenant },
  ),
  uploadLife: duration(
    "MAYFLY_UPLOAD_LIFE",
    "How long an upload may be named by runs. One that has been named is kept until those runs have ended.",
    { fallback: UPLOAD_DEFAULTS.life, minMs: 60_000 },
  ),
  secretsKeys: keyringFile(),
  pools: list("MAYFLY_POOLS", "The pools that a run may name; others are refused.", { fallback: "default" }),
  maxQueued: count("MAYFLY_MAX_QUEUED", "How many runs of one pool may wait; more are refused with 429.", {
    fallback: "100000",
    min: 1,
  }),
  maxWaiting: count(
    "MAYFLY_MAX_WAITING",
    "How many requests this gateway may hold at once: so many that wait for or watch a run, and so many that send a batch or an upload or read results.",
    { fallback: "10000", min: 1 },
  ),
  maxKept: count(
    "MAYFLY_MAX_KEPT",
    "How many runs are kept of a tenant; beyond that its oldest finished ones are forgotten, with their output.",
    { fallback: "100000", min: 1 },
  ),
  maxBatchItems: count("MAYFLY_MAX_BATCH_ITEMS", "How many items a batch may have.", {
    fallback: "100000",
    min: 1,
    max: BATCH_BOUNDS.items,
  }),
  maxBatchLine: size(
    "MAYFLY_MAX_BATCH_LINE",
    "The longest line of a batch's input; one that is longer is told as malformed.",
    { fallback: "1MiB" },
  ),
  maxBatchWaiting: size(
    "MAYFLY_MAX_BATCH_WAITING",
    "How much of its items a batch may hold back, which Redis keeps; more are refused until some have run.",
    { fallback: "256MiB" },
  ),
  maxBatches: count("MAYFLY_MAX_BATCHES", "How many unfinished batches a tenant may have.", {
    fallback: "100",
    min: 1,
  }),
  batchIdle: duration("MAYFLY_BATCH_IDLE", "How long a batch that is open waits for more input; then it is closed.", {
    fallback: "1h",
    minMs: 1_000,
  }),
  retention: duration("MAYFLY_RETENTION", "How long a finished run and its output are kept.", {
    fallback: "24h",
    minMs: 60_000,
  }),
  webhookAllow: optional({
    ...text(
      "MAYFLY_WEBHOOK_ALLOW",
      "What webhooks may be sent to, also by http, though it is not out in the world: what a name in it leads to is not looked at.",
    ),
    form: ALLOW_FORM,
    parse: parseAllowList,
  }),
  webhookAttempts: count(
    "MAYFLY_WEBHOOK_ATTEMPTS",
    "How often a webhook is tried until a receiver takes it; all of them are spread over about 19 hours.",
    { fallback: String(MAX_ATTEMPTS), min: 1, max: MAX_ATTEMPTS },
  ),
  webhookTimeout: duration("MAYFLY_WEBHOOK_TIMEOUT", "How long a receiver may take to answer.", {
    fallback: "15s",
    minMs: 100,
  }),
} as const;

export type GatewayConfig = Config<typeof GATEWAY_SETTINGS>;
