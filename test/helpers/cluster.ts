// A whole Mayfly on this machine for system tests: Redis, a registry with an image, one gateway, any number of workers.
// All of it real, all of it in directories and on ports of its own.

import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunRequest } from "../../core/request.ts";
import type { Run } from "../../core/run.ts";
import { removeCgroup } from "../../runtime/cgroup/cgroup.ts";
import { parseCgroupLayout } from "../../runtime/cgroup/layout.ts";
import { busyboxImage, pushImage } from "./image-builder.ts";
import type { HostUnderTest } from "./leak-check.ts";
import { type MayflyProcess, startMayfly } from "./process.ts";
import { type RedisServer, startRedis } from "./redis.ts";
import { type Registry, startRegistry } from "./registry.ts";

export interface WorkerUnderTest {
  readonly process: MayflyProcess;
  readonly host: HostUnderTest;
}

export interface Cluster {
  readonly url: string;
  readonly redis: RedisServer;
  readonly registry: Registry;
  readonly gateway: MayflyProcess;
  /** Reference of an image of Debian's busybox. */
  readonly image: string;
  startWorker(env?: Readonly<Record<string, string>>): Promise<WorkerUnderTest>;
  /** One more. Resolves with its URL. */
  startGateway(env?: Readonly<Record<string, string>>): Promise<string>;
  /** POST /v1/runs and wait for the end. `image` is the cluster's own unless the request names another. */
  run(request: Partial<RunRequest>): Promise<Run>;
  /** POST /v1/runs without waiting. */
  submit(request: Partial<RunRequest>): Promise<Run>;
  /** A 503 is asked again after its `Retry-After`, as a caller would. */
  get(id: string, waitSeconds?: number): Promise<Run>;
  /** Resolves when the run is in this state, as told by its events. */
  reaches(id: string, state: Run["state"]): Promise<void>;
  /** Resolves when the run's stdout, as told by its events, has this in it. */
  says(id: string, text: string): Promise<void>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  stop(): Promise<void>;
}

const WAIT_SECONDS = 60;

/** Tests that need hosts of their own name one of these; no worker is of `empty`. */
const POOLS = [
  "default",
  "empty",
  "doomed",
  "anonymous",
  "mistaken",
  "known",
  "lied-to",
  "told",
  "patient",
  "other-runtime",
];

/** `fsync: "always"` is for what has to survive a Redis that is killed at any moment. */
export async function startCluster(
  options: { workers?: number; fsync?: "always" | "everysec"; gatewayEnv?: Readonly<Record<string, string>> } = {},
): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-cluster-"));
  const redis = await startRedis(options.fsync ? { fsync: options.fsync } : {});
  const registry = await startRegistry();
  const { reference: image } = await pushImage(registry, "busybox:test", await busyboxImage());
  const redisUrlFile = join(directory, "redis-url");
  await writeFile(redisUrlFile, redis.url, { mode: 0o600 });
  const gateways: MayflyProcess[] = [];
  async function startGateway(env: Readonly<Record<string, string>> = {}): Promise<string> {
    const process = await startMayfly("gateway/main.ts", "gateway.listening", {
      MAYFLY_LISTEN_PORT: "0",
      MAYFLY_REDIS_URL_FILE: redisUrlFile,
      MAYFLY_POOLS: POOLS.join(","),
      ...env,
    });
    gateways.push(process);
    return String((await process.logged("gateway.listening")).url);
  }
  const url = await startGateway(options.gatewayEnv);
  const gateway = gateways[0] as MayflyProcess;
  const workers: WorkerUnderTest[] = [];

  async function startWorker(env: Readonly<Record<string, string>> = {}): Promise<WorkerUnderTest> {
    const hostId = env.MAYFLY_HOST_ID ?? `test-${randomBytes(4).toString("hex")}`;
    const stateDir = env.MAYFLY_STATE_DIR ?? join(directory, hostId);
    const process = await startMayfly("worker/main.ts", "worker.ready", {
      MAYFLY_HOST_ID: hostId,
      MAYFLY_STATE_DIR: stateDir,
      MAYFLY_REDIS_URL_FILE: redisUrlFile,
      MAYFLY_DRAIN: "2s",
      ...env,
    });
    const worker = { process, host: { hostId, stateDir, pid: process.pid } };
    workers.push(worker);
    return worker;
  }

  // A connection a call, so that what the gateway has open afterwards is its own.
  const call = (path: string, init?: RequestInit) =>
    fetch(`${url}${path}`, { ...init, headers: { connection: "close", ...(init?.headers as Record<string, string>) } });
  const post = async (request: Partial<RunRequest>, headers: Record<string, string>): Promise<Run> => {
    const answer = await call("/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ image, ...request }),
    });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as Run;
  };
  const get = async (id: string, waitSeconds = 0): Promise<Run> => {
    for (;;) {
      const answer = await call(`/v1/runs/${id}`, {
        headers: waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {},
      });
      if (answer.ok) return (await answer.json()) as Run;
      const problem = await answer.text();
      if (answer.status !== 503) throw new Error(`${answer.status}: ${problem}`);
      await new Promise((resolve) => setTimeout(resolve, Number(answer.headers.get("retry-after")) * 1000));
    }
  };

  async function follow(id: string, isThere: (seen: string) => boolean): Promise<void> {
    const answer = await call(`/v1/runs/${id}/events`);
    let seen = "";
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      seen += Buffer.from(chunk).toString("utf8");
      if (isThere(seen)) return; // Leaving the loop closes the stream.
    }
    throw new Error(`${id} ended without what was waited for: ${seen.slice(-300)}`);
  }

  const stdoutOf = (events: string) =>
    [...events.matchAll(/^event: stdout\ndata: (.*)$/gm)]
      .map(([, data = ""]) => Buffer.from(JSON.parse(data).base64, "base64").toString())
      .join("");

  for (let i = 0; i < (options.workers ?? 1); i++) await startWorker();
  return {
    url,
    redis,
    registry,
    gateway,
    image,
    startWorker,
    startGateway,
    run: (request) => post(request, { prefer: `wait=${WAIT_SECONDS}` }),
    submit: (request) => post(request, {}),
    get,
    reaches: (id, state) => follow(id, (seen) => seen.includes(`"state":"${state}"`)),
    says: (id, text) => follow(id, (seen) => stdoutOf(seen).includes(text)),
    fetch: call,
    async stop() {
      await Promise.all(workers.map((worker) => worker.process.stop()));
      // A worker that was killed has left the empty directory of its cgroup; nobody starts it again.
      const layout = parseCgroupLayout(await readFile("/proc/self/mountinfo", "utf8"));
      await Promise.all(workers.map(({ host }) => removeCgroup(layout, `/mayfly-${host.hostId}`)));
      await Promise.all(gateways.map((each) => each.stop()));
      await registry.stop();
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
