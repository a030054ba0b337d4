// A launcher that is killed takes its containers along, and nothing else: its worker starts another, and every run ends as it may.

import { afterEach, beforeEach, expect, it } from "vitest";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { theLauncher } from "../helpers/launcher.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";

let cluster: Cluster;
let worker: WorkerUnderTest;
beforeEach(async () => {
  cluster = await startCluster({ workers: 0 });
  worker = await cluster.startWorker();
});
afterEach(() => cluster.stop());

const killLauncher = async () => process.kill((await theLauncher(worker.host)).launcher, "SIGKILL");

it("ends its runs as lost when they may not be tried again, and the next one runs", async () => {
  const ids = await Promise.all(
    Array.from({ length: 3 }, async () => (await cluster.submit({ command: ["sleep", "300"] })).id),
  );
  for (const id of ids) await cluster.reaches(id, "running");
  const { launcher } = await theLauncher(worker.host);
  await killLauncher();
  for (const id of ids)
    expect(await cluster.get(id, 60)).toMatchObject({ state: "finished", attempt: 1, outcome: { kind: "lost" } });
  expect((await cluster.run({ command: ["true"] })).outcome).toEqual({ kind: "exited", exitCode: 0 });
  await nothingLeft(worker.host, { launcher: true });
  expect((await theLauncher(worker.host)).launcher).not.toBe(launcher);
  expect(worker.process.running).toBe(true);
});

it("is followed by a second attempt of those that may have one, by the same worker", async () => {
  const { id } = await cluster.submit({
    command: ["sh", "-c", "echo attempt; read line; echo $line"],
    stdin: { stream: true },
    retries: 1,
  });
  await cluster.reaches(id, "running");
  await killLauncher();
  await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "whole\n" });
  const run = await cluster.get(id, 60);
  expect(run).toMatchObject({ attempt: 2, outcome: { kind: "exited", exitCode: 0 } });
  expect(run.stdout?.data).toBe("attempt\nwhole\n");
  await nothingLeft(worker.host, { launcher: true });
});

it("and killed again and again is started again and again", async () => {
  for (let i = 0; i < 5; i++) {
    const { launcher } = await theLauncher(worker.host);
    await killLauncher();
    expect((await cluster.run({ command: ["true"], retries: 3 })).outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect((await theLauncher(worker.host)).launcher).not.toBe(launcher);
  }
  await nothingLeft(worker.host, { launcher: true });
});

it("that is killed together with its worker leaves nothing at all", async () => {
  const { id } = await cluster.submit({ command: ["sleep", "300"] });
  await cluster.reaches(id, "running");
  const { launcher } = await theLauncher(worker.host);
  const stopped = worker.process.stop("SIGKILL");
  process.kill(launcher, "SIGKILL");
  await stopped;
  // Nobody is left who could remove a cgroup: only the kernel acts, and another life of the worker.
  const again = await cluster.startWorker({
    MAYFLY_HOST_ID: worker.host.hostId,
    MAYFLY_STATE_DIR: worker.host.stateDir,
  });
  await nothingLeft(again.host, { launcher: true });
  expect((await cluster.get(id, 60)).outcome).toMatchObject({ kind: "lost" });
});
