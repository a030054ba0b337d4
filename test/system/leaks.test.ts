// Many runs at once, and what the kernel has of them afterwards: nothing.

import { afterAll, beforeAll, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { traces } from "../helpers/leak-check.ts";

const RUNS = 200;
const CONCURRENCY = 32;

let cluster: Cluster;
let worker: WorkerUnderTest;
beforeAll(async () => {
  cluster = await startCluster({ workers: 0 });
  worker = await cluster.startWorker({ MAYFLY_SLOTS: String(CONCURRENCY), MAYFLY_CPU_OVERCOMMIT: "32" });
});
afterAll(() => cluster.stop());

/** Every kind of end there is, in turn. */
const KINDS = [
  { request: { command: ["echo", "hello"] }, outcome: { kind: "exited", exitCode: 0 } },
  { request: { command: ["sh", "-c", "exit 5"] }, outcome: { kind: "exited", exitCode: 5 } },
  { request: { command: ["sh", "-c", "kill -KILL $$"] }, outcome: { kind: "signaled", signal: "SIGKILL" } },
  {
    request: { command: ["sleep", "60"], timeouts: { run: "100ms" } },
    outcome: { kind: "timed_out", clock: "run", limit: "100ms" },
  },
  { request: { command: ["no-such-program"] }, outcome: { kind: "exited", exitCode: 127 } },
  { request: { command: ["true"], user: "nobody-here" }, outcome: { kind: "rejected", code: "invalid_field" } },
  {
    request: { command: ["tail", "/dev/zero"], limits: { memory: "32MiB" } },
    outcome: { kind: "oom_killed", limit: "32MiB" },
  },
  {
    request: { command: ["sh", "-c", "(setsid sleep 60 &); yes | head -c 200000"] },
    outcome: { kind: "exited", exitCode: 0 },
  },
];

it(`leaves the host as it was after ${RUNS} runs, ${CONCURRENCY} at a time`, async () => {
  await runMany(CONCURRENCY); // Connections, caches and the image are there from now on.
  const before = await settled(CONCURRENCY);
  const runs = await runMany(RUNS);
  for (const [i, run] of runs.entries()) expect(run.outcome).toMatchObject(KINDS[i % KINDS.length]?.outcome ?? {});
  const { descriptors, ...after } = await settled(CONCURRENCY + RUNS);
  expect({ ...after, descriptors: before.descriptors }).toEqual(before);
  // A connection to the registry that was kept alive may be closed by now; there may be no more than before.
  for (const [kind, count] of Object.entries(descriptors))
    expect.soft(count, kind).toBeLessThanOrEqual(before.descriptors[kind] ?? 0);
});

async function runMany(count: number): Promise<Run[]> {
  const runs: Run[] = [];
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) runs[i] = await cluster.run(KINDS[i % KINDS.length]?.request ?? {});
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return runs;
}

/** A run is answered before its sandbox is removed. The worker logs `run.ended` after; then the host is asked. */
async function settled(runs: number) {
  while (worker.process.lines.filter((line) => line.event === "run.ended").length < runs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return traces(worker.host);
}
