// A host that is taken out of service with containers on it, through the gateway.

import { afterEach, describe, expect, it } from "vitest";
import type { HostRecord } from "../../core/host.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { traces } from "../helpers/leak-check.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

const drain = async ({ host: { hostId } }: WorkerUnderTest, timeout: string): Promise<HostRecord> => {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ timeout });
  const answer = await cluster.fetch(`/v1/hosts/${hostId}/drain`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
  return (await answer.json()) as HostRecord;
};

async function empty({ host: { hostId } }: WorkerUnderTest): Promise<HostRecord> {
  for (;;) {
    const record = (await (await cluster.fetch(`/v1/hosts/${hostId}`)).json()) as HostRecord;
    if (record.state === "cordoned") return record;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("a host that drains", () => {
  it("lets what runs end by itself, and takes what comes meanwhile only once it is uncordoned", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker();
    const { id } = await cluster.submit({ command: ["cat"], stdin: { stream: true } });
    await cluster.reaches(id, "running");
    expect(await drain(worker, "10m")).toMatchObject({ state: "draining", running: 1 });
    const waiting = await cluster.submit({ command: ["echo", "later"] });
    await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "to its end\n" });
    expect(await cluster.get(id, 30)).toMatchObject({ outcome: { exitCode: 0 }, stdout: { data: "to its end\n" } });
    expect(await empty(worker)).toMatchObject({ running: 0 });
    expect(await traces(worker.host)).toMatchObject({ mounts: [] });
    expect((await cluster.get(waiting.id)).state).toBe("queued");
    await cluster.fetch(`/v1/hosts/${worker.host.hostId}/uncordon`, { method: "POST" });
    expect(await cluster.get(waiting.id, 30)).toMatchObject({ outcome: { exitCode: 0 }, stdout: { data: "later\n" } });
  });

  it("gives up what is left when its time is over: it is moved to another host if it may be, and lost if not", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker();
    const command = ["sh", "-c", "echo attempt; read line; echo $line"];
    const movable = await cluster.submit({ command, stdin: { stream: true }, retries: 1 });
    const bound = await cluster.submit({ command: ["sleep", "300"] });
    for (const { id } of [movable, bound]) await cluster.reaches(id, "running");
    const other = await cluster.startWorker();
    await drain(worker, "100ms");
    expect(await empty(worker)).toMatchObject({ running: 0 });
    expect(await cluster.get(bound.id, 30)).toMatchObject({ outcome: { kind: "lost" } });
    await cluster.fetch(`/v1/runs/${movable.id}/stdin?close=true`, { method: "POST", body: "moved\n" });
    expect(await cluster.get(movable.id, 30)).toMatchObject({
      outcome: { exitCode: 0 },
      receipt: { host: other.host.hostId, attempt: 2 },
    });
    expect(worker.process.running).toBe(true);
  });

  it("stays cordoned when its worker is killed and started again", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker();
    await drain(worker, "10m");
    await worker.process.stop("SIGKILL");
    const { hostId, stateDir } = worker.host;
    const again = await cluster.startWorker({ MAYFLY_HOST_ID: hostId, MAYFLY_STATE_DIR: stateDir });
    expect(await empty(again)).toMatchObject({ running: 0, duty: { toldAt: expect.any(String) } });
    const { id } = await cluster.submit({ command: ["true"] });
    await cluster.startWorker();
    const run = await cluster.get(id, 30);
    expect(run).toMatchObject({ outcome: { exitCode: 0 } });
    expect(run.receipt?.host).not.toBe(hostId);
  });
});
