// Something dies in the middle. Every accepted run still ends in exactly one outcome, and nothing of it stays.

import { afterEach, describe, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { traces } from "../helpers/leak-check.ts";

let cluster: Cluster;
afterEach(() => cluster.stop());

/** Bounded by the lease of a run, not by a guess: the container's supervisor ends it as soon as the worker is gone. */
async function nothingLeft(worker: WorkerUnderTest): Promise<void> {
  for (;;) {
    const { mounts, cgroups, processes, networkNamespaces, launchers } = await traces(worker.host);
    const left = [mounts, cgroups, processes, networkNamespaces, worker.process.running ? [] : launchers];
    if (left.every((list) => list.length === 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("a worker that is killed", () => {
  it("takes its containers with it, and its run ends as lost", async () => {
    cluster = await startCluster();
    const worker = await cluster.startWorker({ MAYFLY_POOL: "doomed" });
    const { id } = await cluster.submit({ command: ["sleep", "300"], pool: "doomed" });
    await cluster.reaches(id, "running");
    await worker.process.stop("SIGKILL");
    await nothingLeft(worker);
    const run = await cluster.get(id, 60);
    expect(run).toMatchObject({ state: "finished", attempt: 1, outcome: { kind: "lost" } });
  });

  it("is followed by another attempt on another host, if the run may have one", async () => {
    cluster = await startCluster({ workers: 0 });
    const first = await cluster.startWorker();
    const { id } = await cluster.submit({
      command: ["sh", "-c", "echo attempt; read line; echo $line"],
      stdin: { stream: true },
      retries: 1,
    });
    await cluster.reaches(id, "running");
    const second = await cluster.startWorker();
    await first.process.stop("SIGKILL");
    await nothingLeft(first);
    await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "whole\n" });
    const run = await cluster.get(id, 60);
    expect(run).toMatchObject({
      attempt: 2,
      outcome: { kind: "exited", exitCode: 0 },
      receipt: { host: second.host.hostId, attempt: 2 },
    });
    expect(run.stdout?.data).toBe("attempt\nwhole\n");
  });

  it("gives its runs up at once when it is started again, and removes what it left", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker();
    const { id } = await cluster.submit({ command: ["sleep", "300"] });
    await cluster.reaches(id, "running");
    await worker.process.stop("SIGKILL");
    const again = await cluster.startWorker({
      MAYFLY_HOST_ID: worker.host.hostId,
      MAYFLY_STATE_DIR: worker.host.stateDir,
    });
    expect((await cluster.get(id, 60)).outcome).toMatchObject({
      kind: "lost",
      message: expect.stringContaining("restarted"),
    });
    await nothingLeft(again);
    expect((await traces(again.host)).directories.filter((path) => path.includes("/bundles/"))).toEqual([]);
    expect((await cluster.run({ command: ["true"] })).outcome).toEqual({ kind: "exited", exitCode: 0 });
  });
});

describe("a worker that is stopped", () => {
  it("lets what runs come to its end within its drain limit, and takes nothing more", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker({ MAYFLY_DRAIN: "30s" });
    const { id } = await cluster.submit({ command: ["cat"], stdin: { stream: true } });
    await cluster.reaches(id, "running");
    const stopped = worker.process.stop("SIGTERM");
    await worker.process.logged("worker.draining");
    const late = await cluster.submit({ command: ["true"] });
    await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "last words" });
    expect(await stopped).toBe(0);
    expect((await cluster.get(id, 30)).stdout?.data).toBe("last words");
    expect((await cluster.get(late.id)).state).toBe("queued");
    await cluster.startWorker();
    expect((await cluster.get(late.id, 30)).outcome).toEqual({ kind: "exited", exitCode: 0 });
  });

  it("gives up what still runs at the limit, and leaves nothing behind", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker({ MAYFLY_DRAIN: "200ms" });
    const { id } = await cluster.submit({ command: ["sh", "-c", "trap '' TERM; sleep 300"] });
    await cluster.reaches(id, "running");
    expect(await worker.process.stop("SIGTERM")).toBe(0);
    await nothingLeft(worker);
    expect((await cluster.get(id, 30)).outcome).toMatchObject({
      kind: "lost",
      message: expect.stringContaining("stopped"),
    });
  });
});

describe("a worker that is stopped while a run is in its grace", () => {
  it("waits no longer than its drain limit, and the run keeps the reason it had", async () => {
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker({ MAYFLY_DRAIN: "500ms" });
    const { id } = await cluster.submit({
      command: ["sh", "-c", "trap 'echo asked' TERM; while :; do sleep 0.05; done"],
      timeouts: { run: "3s", grace: "5m" }, // Time enough for a shell to begin.
    });
    await cluster.reaches(id, "running");
    await cluster.says(id, "asked");
    expect(await worker.process.stop("SIGTERM")).toBe(0);
    expect((await cluster.get(id)).outcome).toEqual({ kind: "timed_out", clock: "run", limit: "3s" });
  });
});

describe("Redis restarted under load", () => {
  it.each([
    ["SIGTERM", "everysec"],
    ["SIGKILL", "always"],
  ] as const)("by %s, with its file synced %s, loses no accepted run", async (signal, fsync) => {
    cluster = await startCluster({ fsync });
    const accepted: string[] = [];
    const half = Promise.withResolvers<void>();
    const submitting = (async () => {
      while (accepted.length < 60) {
        const run = await cluster.submit({ command: ["echo", String(accepted.length)] }).catch(() => undefined);
        if (run) accepted.push(run.id);
        else await new Promise((resolve) => setTimeout(resolve, 20)); // As a caller that was told 503 would.
        if (accepted.length === 30) half.resolve();
      }
    })();
    await half.promise; // Some have ended, some run, some wait.
    await cluster.redis.restart({ signal });
    await submitting;
    const runs = await Promise.all(accepted.map((id) => cluster.get(id, 60)));
    const wrong = runs.filter((run: Run) => run.state !== "finished" || run.outcome?.kind !== "exited");
    expect(wrong).toEqual([]);
    expect(runs.map((run) => run.stdout?.data)).toEqual(accepted.map((_, i) => `${i}\n`));
  });
});
