// The gateway's app without a process and without Redis: everything that is let through to the store is answered 503.

import { createHash } from "node:crypto";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { readConfig } from "../../../core/config.ts";
import { createLog, SILENT } from "../../../core/log.ts";
import { type FindCaller, parseApiKeys } from "../../../gateway/api-keys.ts";
import { createApp } from "../../../gateway/app.ts";
import { GATEWAY_SETTINGS } from "../../../gateway/config.ts";
import type { GatewayEnv } from "../../../gateway/context.ts";
import { Access } from "../../../gateway/dispatch/access.ts";
import { createBatches } from "../../../gateway/dispatch/create-batches.ts";
import { Dispatcher } from "../../../gateway/dispatch/dispatcher.ts";
import { Duties } from "../../../gateway/dispatch/duties.ts";
import { Hosts } from "../../../gateway/dispatch/hosts.ts";
import type { TakeToken } from "../../../gateway/dispatch/rate-limits.ts";
import { clusterSecret, connectRedis, connectSubscriber, scriptsOn } from "../../../gateway/dispatch/redis.ts";
import { RunStore } from "../../../gateway/dispatch/run-store.ts";
import { ScheduleStore } from "../../../gateway/dispatch/schedule-store.ts";
import { Schedules } from "../../../gateway/dispatch/schedules.ts";
import { SecretStore } from "../../../gateway/dispatch/secret-store.ts";
import { Signals } from "../../../gateway/dispatch/signals.ts";
import { UploadStore } from "../../../gateway/dispatch/upload-store.ts";
import { createWebhooks } from "../../../gateway/webhooks/webhooks.ts";
import type { Telemetry } from "../../../telemetry/telemetry.ts";

export const KEY = "a-key-of-acme";
export const OPERATOR_KEY = "a-key-of-the-operator";
export const MAX_BODY_BYTES = 16_384;
export const MAX_ARCHIVE_BYTES = 1_000_000;
export const HOST = "127.0.0.1:8080";

export interface AppUnderTest {
  readonly hosts: Hosts;
  readonly app: OpenAPIHono<GatewayEnv>;
  /** A request to the app; with `Host` if the app has no keys, with the key if it has. */
  readonly request: (path: string, init?: RequestInit) => Promise<Response>;
  readonly log: readonly Record<string, unknown>[];
}

export const MAX_UPLOAD_BYTES = 64 * 1024;

export interface AppOptions {
  readonly keys?: boolean;
  /** In place of a file with KEY and OPERATOR_KEY. */
  readonly findCaller?: FindCaller;
  readonly take?: TakeToken;
  readonly telemetry?: Telemetry;
}

export function makeApp({
  keys = true,
  findCaller: own,
  take = async () => undefined,
  telemetry,
}: AppOptions = {}): AppUnderTest {
  const redis = connectRedis(undefined); // Never told to connect.
  const store = new RunStore({ redis, maxQueued: 10, maxKept: 10, maxStdinBytes: 1024, retentionMs: 1000 });
  const signals = new Signals(connectSubscriber(undefined), "test");
  const dispatcher = new Dispatcher({ store, signals, gatewayId: "test", maxWaiting: 10, pools: ["default"] });
  const hash = (key: string) => createHash("sha256").update(key).digest("hex");
  const inFile = keys ? parseApiKeys(`acme ${hash(KEY)}\nops ${hash(OPERATOR_KEY)} operator`) : undefined;
  const hosts = new Hosts({ store, secret: clusterSecret(redis) });
  const inRedis = new Access(redis);
  const access = { keys: inRedis.keys, tenants: inRedis.tenants, limits: { take } };
  const findCaller = own ?? inFile;
  const webhooks = createWebhooks(scriptsOn(redis), { timeoutMs: 1000 });
  const config = readConfig(GATEWAY_SETTINGS, {});
  const log: Record<string, unknown>[] = [];
  const write = (line: string) => void log.push(JSON.parse(line));
  const app = createApp({
    ...{
      dispatcher,
      hosts,
      access,
      webhooks,
      batches: createBatches({
        redis,
        subscriber: connectSubscriber(undefined),
        signals,
        config,
        orders: store.orders,
        webhooks,
        log: SILENT,
      }).batches,
      duties: new Duties(redis, hosts),
      secrets: new SecretStore(redis, undefined),
      schedules: new Schedules({ redisUrl: undefined, store: new ScheduleStore(redis), runs: dispatcher, log: SILENT }),
      findCaller,
      maxBodyBytes: MAX_BODY_BYTES,
      maxArchiveBytes: MAX_ARCHIVE_BYTES,
      maxStdinBytes: 1024,
      uploads: new UploadStore(redis, { ofTenantBytes: 2 * MAX_UPLOAD_BYTES, lifeMs: 60_000 }),
      maxUploadBytes: MAX_UPLOAD_BYTES,
    },
    log: createLog({}, write),
    ...(telemetry ? { telemetry } : {}),
  });
  const credentials = keys ? { authorization: `Bearer ${KEY}` } : { host: HOST };
  const request = async (path: string, init: RequestInit = {}) => {
    const headers = new Headers(credentials);
    new Headers(init.headers).forEach((value, name) => void headers.set(name, value));
    return app.request(path, { ...init, headers });
  };
  return { app, hosts, request, log };
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly reason: string;
  readonly detail: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
}

/** The problem in an answer, after checking that it says it is one. */
export async function problemOf(response: Response): Promise<Problem> {
  const type = response.headers.get("content-type");
  if (type !== "application/problem+json") throw new Error(`${response.status} is answered as ${type}`);
  const problem = (await response.json()) as Problem;
  if (problem.status !== response.status) throw new Error(`${response.status} says that it is ${problem.status}`);
  return problem;
}

/** A POST of JSON, or of text that should have been. */
export function posted(body: unknown, headers: Record<string, string> = {}): RequestInit {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { method: "POST", body: text, headers: { "content-type": "application/json", ...headers } };
}
