// A typed client of the gateway's HTTP API, a function a call: what the `mayfly` command and the library (library.ts) are built on.
//
//   const mayfly = createClient({ url: "http://127.0.0.1:8080" });
//   const run = await mayfly.createRun({ image: "busybox", command: ["echo", "hello"] });
//   for await (const event of mayfly.followRun(run.id)) { … }

import { randomUUID } from "node:crypto";
import { monotonicMs } from "../core/clock.ts";
import type { RunSignal, TerminalSize } from "../core/control.ts";
import type { RunRequest } from "../core/request.ts";
import type { Run, RunState } from "../core/run.ts";
import { createKeyClient, createTenantClient, type KeyClient, type TenantClient } from "./access-client.ts";
import { parseRun, parseRunPage, type RunPage } from "./answers.ts";
import { type ArtifactClient, createArtifactClient } from "./artifact-client.ts";
import { type BatchClient, createBatchClient } from "./batch-client.ts";
import { unreachable } from "./client-error.ts";
import { createDeadLetterClient, type DeadLetterClient } from "./dead-letter-client.ts";
import { type FollowOptions, followRun } from "./follow.ts";
import { createHostClient, type HostClient } from "./host-client.ts";
import { type ClientOptions, createSend, DEFAULT_IDEMPOTENCY, readJson, type Send } from "./http.ts";
import { createImageClient, type ImageClient } from "./image-client.ts";
import { createPatience, pause } from "./patience.ts";
import type { RunEvent, StreamName } from "./run-event.ts";
import { createScheduleClient, type ScheduleClient } from "./schedule-client.ts";
import { createSecretClient, type SecretClient } from "./secret-client.ts";
import { createUploadClient, type UploadClient } from "./upload-client.ts";
import { createWebhookClient, type WebhookClient } from "./webhook-client.ts";

export type { ApiKey, MadeKey, NewKey, Scope } from "../core/api-key.ts";
export type { Artifact, ArtifactList } from "../core/artifacts.ts";
export type { RunSignal, TerminalSize } from "../core/control.ts";
export type { RunRequest } from "../core/request.ts";
export type { Outcome, Receipt, Run, RunState } from "../core/run.ts";
export type { Tenant, TenantChange } from "../core/tenant.ts";
export type { Upload } from "../core/uploads.ts";
export type { KeyClient, TenantClient } from "./access-client.ts";
export type { RunPage } from "./answers.ts";
export type { ArtifactClient } from "./artifact-client.ts";
export type { BatchClient, ResultOptions } from "./batch-client.ts";
export { ClientError, type FieldProblem, isClientError } from "./client-error.ts";
export type { DeadLetterClient, DeadLetterSweep, RetriedDeadLetter } from "./dead-letter-client.ts";
export type { FollowOptions } from "./follow.ts";
export type { HostClient } from "./host-client.ts";
export type { ClientOptions, Idempotency } from "./http.ts";
export type { ImageClient, LoadProgress, PullProgress, VerifyProgress } from "./image-client.ts";
export type { EndEvent, OutputEvent, RunEvent, StateEvent, StreamName } from "./run-event.ts";
export type { ScheduleClient } from "./schedule-client.ts";
export type { SecretClient } from "./secret-client.ts";
export type { UploadClient } from "./upload-client.ts";
export type { WebhookClient } from "./webhook-client.ts";

/** The most that one `sendStdin` should carry: a quarter of what the gateway takes in one body. */
export const STDIN_CHUNK_BYTES = 256 * 1024;

/** Long-polls last this long, well below the 5 minutes after which `fetch` itself gives up waiting for an answer. */
const WAIT_SECONDS = 30;
/** A gateway that answers a long-poll at once with an unfinished run is not asked again before this. */
const MIN_POLL_MS = 500;
const WAIT_RETRIES = 8;

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface WaitOptions extends CallOptions {
  /** How long the answer may take, at most 300, for the run to finish before it. */
  readonly waitSeconds?: number | undefined;
}

export interface CreateOptions extends WaitOptions {
  /** Two runs that are asked for with one key are one run. Without it the client makes one, if its `idempotency` says so. */
  readonly idempotencyKey?: string | undefined;
}

export interface CancelOptions extends CallOptions {
  /** Kills the program at once, without SIGTERM and a grace. */
  readonly force?: boolean | undefined;
}

export interface ListOptions extends CallOptions {
  readonly state?: RunState | undefined;
  /** As `NAME=VALUE`; runs have all of them. */
  readonly label?: readonly string[] | undefined;
  /** As it was asked for. */
  readonly image?: string | undefined;
  /** Accepted at this moment (RFC 3339) or later, and before that one. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  /** Another tenant's runs, or everybody's (`*`): for operators. */
  readonly tenant?: string | undefined;
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

/** Safe to use concurrently; holds nothing to close. Every method throws ClientError, or the reason of an aborted signal. */
export interface Client {
  /** Accepted once it resolves. Without a key it is never sent twice: after `gateway_unreachable` it may have been accepted or not. */
  createRun(request: RunRequest, options?: CreateOptions): Promise<Run>;
  /** The run as it is, or as it is when `waitSeconds` are over or it has finished. */
  getRun(id: string, options?: WaitOptions): Promise<Run>;
  /** Resolves when the run has finished, however long that takes. */
  waitRun(id: string, options?: WaitOptions): Promise<Run>;
  listRuns(options?: ListOptions): Promise<RunPage>;
  /** Safe to repeat. The run has ended only once its state says so. */
  cancelRun(id: string, options?: CancelOptions): Promise<Run>;
  /** Forgets a finished run. */
  removeRun(id: string, options?: CallOptions): Promise<void>;
  /** Appends to the stdin of a run that was made with `stdin: {stream: true}`. Order is the caller's: one call at a time. */
  sendStdin(id: string, bytes: Uint8Array<ArrayBuffer>, options?: CallOptions & { close?: boolean }): Promise<void>;
  /** The terminal of a run has this size from now on, also if its program has not been started yet. */
  resizeRun(id: string, size: TerminalSize, options?: CallOptions): Promise<void>;
  /** To the run's program, which must have been started. Resolves when its host has been told. */
  signalRun(id: string, signal: RunSignal, options?: CallOptions): Promise<void>;
  /** The bytes of one stream that are kept so far. */
  readOutput(id: string, stream: StreamName, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** See follow.ts: all events once and in order, whatever happens to connections. */
  followRun(id: string, options?: FollowOptions): AsyncGenerator<RunEvent, void>;
  /** Files that runs have left. */
  readonly artifacts: ArtifactClient;
  /** What hosts have of images, and what is to be done with them. */
  readonly images: ImageClient;
  /** API keys, of all tenants. */
  readonly keys: KeyClient;
  /** How much of the cluster each tenant may have. */
  readonly tenants: TenantClient;
  /** Many runs at once. */
  readonly batches: BatchClient;
  /** What came of telling others that runs have finished. */
  readonly schedules: ScheduleClient;
  readonly secrets: SecretClient;
  /** Tars of files that runs may name. */
  readonly uploads: UploadClient;
  readonly webhooks: WebhookClient;
  /** The hosts of the cluster, and taking them out of service. */
  readonly hosts: HostClient;
  /** Runs that were to be tried again and have failed for good. */
  readonly deadLetters: DeadLetterClient;
}

/** Constructing it connects to nothing. Throws TypeError if `url` is not a URL. */
export function createClient(options: ClientOptions): Client {
  new URL(options.url);
  const send = createSend(options);
  const { idempotency = DEFAULT_IDEMPOTENCY } = options;
  return {
    createRun: (request, wait = {}) =>
      createRun(send, request, { idempotencyKey: idempotency === "auto" ? randomUUID() : undefined, ...wait }),
    getRun: (id, wait = {}) => getRun(send, id, wait),
    waitRun: (id, wait = {}) => waitRun(send, id, wait),
    listRuns: async ({ signal, ...query } = {}) =>
      parseRunPage(await readJson(await send({ method: "GET", path: "/v1/runs", query, signal }))),
    cancelRun: async (id, { signal, force } = {}) => {
      const query = { force: force ? "true" : undefined };
      return parseRun(await readJson(await send({ method: "POST", path: runPath(id, "/cancel"), query, signal })));
    },
    removeRun: async (id, { signal } = {}) => {
      const answer = await send({ method: "DELETE", path: runPath(id), signal });
      await answer.body?.cancel();
    },
    sendStdin: (id, bytes, stdin = {}) => sendStdin(send, id, { ...stdin, bytes }),
    resizeRun: (id, size, { signal } = {}) => tell(send, runPath(id, "/resize"), size, signal),
    signalRun: (id, name, { signal } = {}) => tell(send, runPath(id, "/signal"), { signal: name }, signal),
    readOutput: (id, stream, { signal } = {}) => readOutput(send, runPath(id, `/output/${stream}`), signal),
    followRun: (id, follow) => followRun(send, id, follow),
    artifacts: createArtifactClient(send),
    images: createImageClient(send),
    keys: createKeyClient(send),
    tenants: createTenantClient(send),
    schedules: createScheduleClient(send),
    secrets: createSecretClient(send),
    uploads: createUploadClient(send),
    batches: createBatchClient(send),
    webhooks: createWebhookClient(send),
    hosts: createHostClient(send),
    deadLetters: createDeadLetterClient(send),
  };
}

async function createRun(send: Send, request: RunRequest, options: CreateOptions): Promise<Run> {
  const { idempotencyKey, signal } = options;
  const keyed = idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey };
  const headers = { "content-type": "application/json", ...prefer(options), ...keyed };
  const call = { method: "POST", path: "/v1/runs", headers, body: JSON.stringify(request), signal } as const;
  return parseRun(await readJson(await send({ ...call, isRepeatable: idempotencyKey !== undefined })));
}

async function getRun(send: Send, id: string, wait: WaitOptions, once = false): Promise<Run> {
  const { signal } = wait;
  return parseRun(
    await readJson(await send({ method: "GET", path: runPath(id), headers: prefer(wait), signal, once })),
  );
}

async function waitRun(send: Send, id: string, { signal, waitSeconds = WAIT_SECONDS }: WaitOptions): Promise<Run> {
  const patience = createPatience({ limit: WAIT_RETRIES, signal });
  for (;;) {
    const askedAt = monotonicMs();
    try {
      const run = await getRun(send, id, { waitSeconds, signal }, true);
      if (run.state === "finished") return run;
      patience.progress();
      await pause(MIN_POLL_MS - (monotonicMs() - askedAt), signal);
    } catch (error) {
      signal?.throwIfAborted();
      await patience.afterFailure(error);
    }
  }
}

async function sendStdin(
  send: Send,
  id: string,
  { bytes, close = false, signal }: CallOptions & { bytes: Uint8Array<ArrayBuffer>; close?: boolean },
): Promise<void> {
  const headers = { "content-type": "application/octet-stream" };
  const query = { close: close ? "true" : undefined };
  const response = await send({ method: "POST", path: runPath(id, "/stdin"), query, headers, body: bytes, signal });
  await response.body?.cancel();
}

/** For calls that are answered with a status alone. */
async function tell(send: Send, path: string, body: object, signal: AbortSignal | undefined): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await send({ method: "POST", path, headers, body: JSON.stringify(body), signal });
  await response.body?.cancel();
}

async function readOutput(send: Send, path: string, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const response = await send({ method: "GET", path, headers: { accept: "application/octet-stream" }, signal });
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(response.url, error);
  }
}

const runPath = (id: string, rest = ""): string => `/v1/runs/${encodeURIComponent(id)}${rest}`;

/** RFC 7240, section 4.3. */
function prefer({ waitSeconds }: WaitOptions): Record<string, string> {
  return waitSeconds === undefined ? {} : { prefer: `wait=${waitSeconds}` };
}
