// Workers that would get in each other's way are told so, and do no harm.

import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { traces } from "../helpers/leak-check.ts";

let cluster: Cluster;
let first: WorkerUnderTest;
beforeAll(async () => {
  cluster = await startCluster({ workers: 0 });
  first = await cluster.startWorker();
});
afterAll(() => cluster.stop());

it("a second worker with the same name or the same state directory does not start, and the first one's run goes on", async () => {
  const { id } = await cluster.submit({ command: ["cat"], stdin: { stream: true } });
  await cluster.reaches(id, "running");
  const { hostId, stateDir } = first.host;
  await expect(cluster.startWorker({ MAYFLY_HOST_ID: hostId, MAYFLY_STATE_DIR: `${stateDir}-2` })).rejects.toThrow(
    "MAYFLY_HOST_ID",
  );
  await expect(cluster.startWorker({ MAYFLY_STATE_DIR: stateDir })).rejects.toThrow("MAYFLY_STATE_DIR");
  await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "unharmed" });
  expect((await cluster.get(id, 30)).stdout?.data).toBe("unharmed");
});

it("a run whose host is cut off from Redis for longer than its lease is lost, and its container is gone before that", async () => {
  const { id } = await cluster.submit({ command: ["sleep", "300"] });
  await cluster.reaches(id, "running");
  await cluster.redis.halt();
  while ((await traces(first.host)).processes.length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await cluster.redis.resume();
  expect((await cluster.get(id, 60)).outcome).toMatchObject({ kind: "lost" });
  expect((await cluster.run({ command: ["echo", "and on"] })).stdout?.data).toBe("and on\n");
});
