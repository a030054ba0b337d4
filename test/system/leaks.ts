// Many runs of every ending, over HTTP, through the queue and the worker; and what kernel and Redis have of them afterwards: nothing
// but what is kept on purpose.
//
// A short form is part of `npm test`, the full one is `npm run test:long`, which prints its figures.

import { Redis } from "ioredis";
import { expect, it } from "vitest";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { eventually } from "../helpers/eventually.ts";
import { launcherState } from "../helpers/launcher.ts";
import { descriptorsOf, traces } from "../helpers/leak-check.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";

export interface LeakOptions {
  readonly runs: number;
  readonly say: (figures: string) => void;
}

const CONCURRENCY = 32;
/** Fewer than are asked for at once: the others wait in the queue. */
const SLOTS = 24;
const LONG_MS = 60 * 60 * 1000;
const RETENTION_MS = 24 * 60 * 60 * 1000;
const KIB = 2 ** 10;

interface Ending {
  readonly request: Partial<RunRequest>;
  /** What the finished run is to say, in part. */
  readonly says: object;
  /** What the caller does once the run is accepted. */
  readonly act?: (cluster: Cluster, id: string) => Promise<unknown>;
}

const sh = (script: string): Partial<RunRequest> => ({ command: ["sh", "-c", script] });
const exited = (exitCode: number) => ({ kind: "exited", exitCode });
const timedOut = (clock: string, limit: string) => ({ kind: "timed_out", clock, limit });
const cancelled = { outcome: { kind: "cancelled" } };

async function post(cluster: Cluster, path: string, body?: Buffer<ArrayBuffer>): Promise<void> {
  const headers = body ? { "content-type": "application/octet-stream" } : {};
  const answer = await cluster.fetch(path, { method: "POST", headers, ...(body ? { body } : {}) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}: ${text}`);
}

const cancel = (cluster: Cluster, id: string) => post(cluster, `/v1/runs/${id}/cancel`);

const FLOOD_BYTES = 300_000;
const INPUT = "x".repeat(200_000);
const SLEEP: Partial<RunRequest> = { command: ["sleep", "300"], timeouts: { run: "5m" } };

const ENDINGS: Record<string, Ending> = {
  "ends well": { request: { command: ["echo", "hello"] }, says: { outcome: exited(0), stdout: { data: "hello\n" } } },
  "exits with a number": { request: sh("echo oh >&2; exit 5"), says: { outcome: exited(5), stderr: { data: "oh\n" } } },
  "is killed by its own signal": {
    request: sh("kill -SEGV $$"),
    says: { outcome: { kind: "signaled", signal: "SIGSEGV" } },
  },
  "runs too long": {
    request: { command: ["sleep", "60"], timeouts: { run: "100ms" } },
    says: { outcome: timedOut("run", "100ms") },
  },
  "runs too long and does not heed SIGTERM": {
    request: { ...sh("trap '' TERM; while :; do sleep 1; done"), timeouts: { run: "200ms", grace: "100ms" } },
    says: { outcome: timedOut("run", "200ms") },
  },
  "waits too long": {
    request: { command: ["true"], pool: "empty", timeouts: { queue: "1s" } },
    says: { outcome: timedOut("queue", "1s") },
  },
  "runs out of memory": {
    request: { command: ["tail", "/dev/zero"], limits: { memory: "32MiB", disk: "1MiB" } },
    says: { outcome: { kind: "oom_killed", limit: "32MiB" } },
  },
  "is cancelled while it is queued": { request: { ...SLEEP, pool: "empty" }, says: cancelled, act: cancel },
  "is cancelled at once": { request: SLEEP, says: cancelled, act: cancel },
  "is cancelled while it runs": {
    request: SLEEP,
    says: cancelled,
    async act(cluster, id) {
      await cluster.reaches(id, "running");
      await cancel(cluster, id);
    },
  },
  "is not a program": { request: { command: ["no-such-program"] }, says: { outcome: exited(127) } },
  "has no such user": {
    request: { command: ["true"], user: "nobody-here" },
    says: { outcome: { kind: "rejected", code: "invalid_field" } },
  },
  "has no such image": {
    request: { command: ["true"], image: "no-such-image" },
    says: { outcome: { kind: "rejected", code: "image_not_found" } },
  },
  "writes more than is kept": {
    request: { ...sh(`yes | head -c ${FLOOD_BYTES}`), limits: { output: "64KiB" } },
    says: { outcome: exited(0), stdout: { bytesSeen: FLOOD_BYTES, bytesKept: 64 * KIB, truncated: true } },
  },
  "is given its input": {
    request: { command: ["wc", "-c"], stdin: INPUT },
    says: { outcome: exited(0), stdout: { data: `${INPUT.length}\n` } },
  },
  "is sent its input": {
    request: { command: ["wc", "-c"], stdin: { stream: true } },
    says: { outcome: exited(0), stdout: { data: `${INPUT.length}\n` } },
    act: (cluster, id) => post(cluster, `/v1/runs/${id}/stdin?close=true`, Buffer.from(INPUT)),
  },
  "does not read its input": { request: { command: ["true"], stdin: INPUT }, says: { outcome: exited(0) } },
  "leaves daemons": { request: sh("(setsid sleep 300 &); (sleep 300 &); exit 0"), says: { outcome: exited(0) } },
  "leaves artifacts": {
    request: { ...sh("mkdir /out; head -c 300000 /dev/zero > /out/x"), artifacts: { paths: ["/out"] } },
    says: { outcome: exited(0), artifacts: { files: 1, bytes: 300_000 } },
  },
  "leaves artifacts, and does not heed SIGTERM": {
    request: {
      ...sh("mkdir /out; echo x > /out/x; trap '' TERM; while :; do sleep 1; done"),
      ...{ artifacts: { paths: ["/out/*"] }, timeouts: { run: "200ms", grace: "100ms" } },
    },
    says: { outcome: timedOut("run", "200ms"), artifacts: { files: 1, bytes: 2 } },
  },
  "has a terminal": {
    request: { command: ["tty"], terminal: { rows: 24, columns: 80 } },
    says: { outcome: exited(0), stdout: { data: "/dev/pts/0\r\n" } },
  },
};

export function leaks({ runs, say }: LeakOptions): void {
  it(`${runs} runs of every ending, ${CONCURRENCY} at a time, end as they must, and leave nothing`, {
    timeout: LONG_MS,
  }, async () => {
    const cluster = await startCluster({ workers: 0 });
    try {
      const worker = await cluster.startWorker({ MAYFLY_SLOTS: String(SLOTS), MAYFLY_CPU_OVERCOMMIT: String(SLOTS) });
      const told = await warmUp(cluster);
      const before = await settled(cluster, worker);
      const sinceMs = performance.now();
      told.push(...(await runMany(cluster, runs)));
      const seconds = (performance.now() - sinceMs) / 1000;
      await eventually(async () => expectNoMore(await stateOf(cluster, worker), before));
      const after = await settled(cluster, worker);
      say(`${runs} runs in ${seconds.toFixed(1)} s: ${JSON.stringify(countsOf(told.slice(-runs)))}`);
      for (const [when, state] of Object.entries({ before, after }))
        say(`${when}: ${JSON.stringify({ ...state, traces: undefined, worker: state.traces.descriptors })}`);
      for (const run of told) expect((await cluster.get(run.id)).outcome).toEqual(run.outcome);
      say(`in Redis: ${JSON.stringify(await onlyWhatIsKept(cluster, told.length))}`);
    } finally {
      await cluster.stop();
    }
  });
}

/** Everything has been used once, and as much at once as there may be. */
async function warmUp(cluster: Cluster): Promise<Run[]> {
  const sleeps = Array.from({ length: CONCURRENCY }, () => cluster.run({ command: ["sleep", "1"] }));
  return [...(await Promise.all(sleeps)), ...(await runMany(cluster, Object.keys(ENDINGS).length * 2))];
}

async function runMany(cluster: Cluster, count: number): Promise<Run[]> {
  const endings = Object.entries(ENDINGS);
  const runs: Run[] = [];
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) {
      const [name, ending] = endings[i % endings.length] as [string, Ending];
      const run = await runOne(cluster, ending);
      expect(run, name).toMatchObject({ state: "finished", ...ending.says });
      runs.push(run);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return runs;
}

async function runOne(cluster: Cluster, { request, act }: Ending): Promise<Run> {
  const image = request.image ? `${cluster.registry.host}/${request.image}` : cluster.image;
  if (!act) return cluster.run({ ...request, image });
  const { id } = await cluster.submit({ ...request, image });
  await act(cluster, id);
  return cluster.get(id, 60);
}

const countsOf = (runs: readonly Run[]) =>
  Object.fromEntries(
    Object.entries(Object.groupBy(runs, ({ outcome }) => outcome?.kind ?? "none")).map(([kind, of]) => [
      kind,
      of?.length,
    ]),
  );

/** A run is answered before its sandbox is removed. */
async function settled(cluster: Cluster, worker: WorkerUnderTest) {
  await nothingLeft(worker.host, { launcher: true });
  return stateOf(cluster, worker);
}

async function stateOf(cluster: Cluster, worker: WorkerUnderTest) {
  return {
    traces: await traces(worker.host),
    launcher: await launcherState(worker.host),
    gateway: await descriptorsOf(cluster.gateway.pid),
  };
}

type State = Awaited<ReturnType<typeof stateOf>>;

/** One that was open on demand may be closed by now; there may be no more than before. */
function expectNoMore({ traces: { descriptors, ...now }, launcher, gateway }: State, before: State): void {
  const { descriptors: descriptorsBefore, ...then } = before.traces;
  expect(now).toEqual(then);
  expect(launcher).toMatchObject({ pid: before.launcher.pid, makers: before.launcher.makers });
  expect(launcher.descriptors).toBeLessThanOrEqual(before.launcher.descriptors);
  for (const [kind, count] of Object.entries(descriptors))
    expect(count, `worker: ${kind}`).toBeLessThanOrEqual(descriptorsBefore[kind] ?? 0);
  for (const [kind, count] of Object.entries(gateway))
    expect(count, `gateway: ${kind}`).toBeLessThanOrEqual(before.gateway[kind] ?? 0);
}

/** Of the one image: its manifest, its config and its layer, each of which other hosts may ask for. */
const PIECES = 3;

/** What BullMQ keeps of a queue that has nothing in it: the timetable of schedules, of which there are none. */
const OF_AN_EMPTY_TIMETABLE = ["id", "meta", "events", "marker", "pc", "stalled-check"];

/** The records and output of finished runs, for as long as those are kept; and what is there of an idle Mayfly. Answers how many of each. */
async function onlyWhatIsKept(cluster: Cluster, runs: number): Promise<Record<string, number>> {
  const redis = new Redis(cluster.redis.url);
  try {
    const names = await redis.keys("*");
    const counts: Record<string, number> = {};
    for (const name of names) {
      const shape = name.replace(/run_[^:]+/, "ID");
      counts[shape] = (counts[shape] ?? 0) + 1;
    }
    const kept = [
      "{mayfly}:run:ID",
      "{mayfly}:run:ID:stdout",
      "{mayfly}:run:ID:stderr",
      "{mayfly}:run:ID:artifacts",
      "{mayfly}:run:ID:artifact-tar",
      keys.facet("default:state:finished"),
      keys.finished,
      keys.filed,
    ];
    const pools = ["default", "empty"].flatMap((pool) => [keys.shares(pool), keys.pace(pool)]);
    const timetable = OF_AN_EMPTY_TIMETABLE.map((name) => `{mayfly}:timetable:ticks:${name}`);
    const idle = [keys.hosts, keys.offers("default"), keys.secret, ...pools, ...timetable];
    const ofImages = names.filter((name) => name.startsWith(keys.blob("")));
    expect(ofImages).toHaveLength(PIECES);
    const strange = Object.keys(counts).filter((shape) => !kept.includes(shape) && !idle.includes(shape));
    const known = [keys.host(""), keys.blob(""), keys.facet("default:image:"), keys.facet("default:label:")];
    expect(strange.filter((shape) => !known.some((prefix) => shape.startsWith(prefix)))).toEqual([]);
    expect(counts["{mayfly}:run:ID"]).toBe(runs);
    const untils = await redis.zrange(keys.finished, "0", "-1", "WITHSCORES");
    expect(untils).toHaveLength(2 * runs);
    for (let i = 0; i < untils.length; i += 2) {
      const leftMs = Number(untils[i + 1]) - Date.now();
      expect(leftMs > 0 && leftMs <= RETENTION_MS, `${untils[i]} is kept for ${leftMs} ms`).toBe(true);
    }
    return counts;
  } finally {
    redis.disconnect();
  }
}
