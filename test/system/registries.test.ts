// Registries that want a login, that hang, that lie: what the caller of a run is told, and what stays on the host.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { startFakeRegistry } from "../helpers/fake-registry.ts";
import { busyboxImage, busyboxLayer, pushImage } from "../helpers/image-builder.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";

const LOGIN = { user: "mayfly", password: "open sesame" };

let cluster: Cluster;
let locked: Registry;
let image: string;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-registries-"));
  cluster = await startCluster({ workers: 0 });
  locked = await startRegistry({ login: LOGIN });
  image = (await pushImage(locked, "private/busybox:1", await busyboxImage())).reference;
});
afterAll(async () => {
  await cluster.stop();
  await locked.stop();
  await rm(directory, { recursive: true, force: true });
});

async function startWorkerOf(pool: string, login: { user: string; password: string } | undefined): Promise<void> {
  const file = join(directory, `auth-${pool}.json`);
  const auths = login
    ? { [locked.host]: { auth: Buffer.from(`${login.user}:${login.password}`).toString("base64") } }
    : {};
  await writeFile(file, JSON.stringify({ auths }), { mode: 0o600 });
  await cluster.startWorker({ MAYFLY_POOL: pool, MAYFLY_REGISTRY_AUTH_FILE: file });
}

it("rejects a run with image_access_denied when the credentials are wrong or missing", async () => {
  await startWorkerOf("anonymous", undefined);
  await startWorkerOf("mistaken", { ...LOGIN, password: "open barley" });
  for (const pool of ["anonymous", "mistaken"]) {
    expect((await cluster.run({ image, pool, command: ["true"] })).outcome).toMatchObject({
      kind: "rejected",
      code: "image_access_denied",
    });
  }
});

it("runs an image of a registry whose login the host has", async () => {
  await startWorkerOf("known", LOGIN);
  expect((await cluster.run({ image, pool: "known", command: ["echo", "let in"] })).stdout?.data).toBe("let in\n");
});

it("rejects a run with image_corrupt when a layer is not what its digest says, and keeps nothing of it", async () => {
  const lying = await startFakeRegistry();
  try {
    const built = await busyboxImage({ Env: ["PATH=/bin", "LIE=1"] });
    lying.add("lie:1", built);
    for (const blob of built.blobs)
      if (blob.mediaType.includes("layer")) lying.lie(blob.digest, Buffer.alloc(blob.bytes.length));
    const worker = await cluster.startWorker({ MAYFLY_POOL: "lied-to", MAYFLY_PEERS: "false" });
    const { outcome } = await cluster.run({ image: `${lying.host}/lie:1`, pool: "lied-to", command: ["true"] });
    expect(outcome).toMatchObject({ kind: "rejected", code: "image_corrupt" });
    expect(await worker.process.stop()).toBe(0);
  } finally {
    await lying.stop();
  }
});

it("ends a run at its start clock when the registry never answers", async () => {
  const silent = await startFakeRegistry({ intercept: () => true });
  try {
    await cluster.startWorker({ MAYFLY_POOL: "patient" });
    const run = await cluster.run({
      image: `${silent.host}/slow:1`,
      pool: "patient",
      command: ["true"],
      timeouts: { start: "1s" },
    });
    expect(run.outcome).toEqual({ kind: "timed_out", clock: "start", limit: "1s" });
    expect(run.receipt?.phases.pull).toBeGreaterThan(0);
  } finally {
    await silent.stop();
  }
});

it("tells on a run, and to whoever follows it, how far its image has come", async () => {
  const layer = await busyboxLayer();
  const half = layer.bytes.length >> 1;
  const asked = Promise.withResolvers<ServerResponse>();
  const halting = await startFakeRegistry({
    intercept({ path }, response) {
      if (!path.endsWith(layer.digest)) return false;
      response.writeHead(200, { "content-length": layer.bytes.length }).write(layer.bytes.subarray(0, half));
      asked.resolve(response);
      return true;
    },
  });
  try {
    halting.add("halting:1", await busyboxImage({ Env: ["PATH=/bin", "HALT=1"] }));
    await cluster.startWorker({ MAYFLY_POOL: "told", MAYFLY_PEERS: "false" });
    const { id } = await cluster.submit({ image: `${halting.host}/halting:1`, pool: "told", command: ["true"] });
    const events = await cluster.fetch(`/v1/runs/${id}/events`);
    let seen = "";
    for await (const chunk of events.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      seen += chunk;
      if (!seen.includes(`"bytes":${half},`)) continue;
      const { state, pulling } = await cluster.get(id);
      expect(state).toBe("starting");
      expect(pulling).toMatchObject({ layers: 1, layersDone: 0, bytes: half, size: layer.bytes.length });
      (await asked.promise).end(layer.bytes.subarray(half));
      break;
    }
    expect(seen).toMatch(/event: progress\ndata: \{"layers":1,/);
    const run = await cluster.get(id, 30);
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(run.pulling).toBeUndefined();
  } finally {
    await halting.stop();
  }
});

it("uses the OCI runtime that the configuration names", async () => {
  const runtime = join(directory, "runtime");
  const log = `${runtime}.log`;
  await writeFile(runtime, `#!/bin/sh\necho "$@" >> ${log}\nexec /usr/sbin/runc "$@"\n`, { mode: 0o755 });
  const worker = await cluster.startWorker({
    MAYFLY_POOL: "other-runtime",
    MAYFLY_DRIVER: "oci",
    MAYFLY_OCI_RUNTIME: runtime,
  });
  const { host } = cluster.registry;
  expect(
    (await cluster.run({ image: `${host}/busybox:test`, pool: "other-runtime", command: ["true"] })).outcome,
  ).toEqual({ kind: "exited", exitCode: 0 });
  // A run is answered before its container is deleted; a worker that has stopped has deleted it.
  expect(await worker.process.stop()).toBe(0);
  const calls = (await readFile(log, "utf8")).trim().split("\n");
  for (const verb of ["create", "start", "delete"]) expect(calls.some((call) => call.includes(` ${verb} `))).toBe(true);
});
