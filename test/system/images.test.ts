// The images of a cluster of three hosts, by the real command: one pull from the registry for all, archives, removal, policies.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildLayer, busyboxImage, busyboxLayer } from "../helpers/image-builder.ts";
import { ROOT } from "../helpers/process.ts";

const HOSTS = ["one", "two", "three"];

let cluster: Cluster;
let registry: FakeRegistry;
let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "mayfly-images-system-"));
  registry = await startFakeRegistry();
  cluster = await startCluster({ workers: 0 });
  await Promise.all(HOSTS.map((MAYFLY_HOST_ID) => cluster.startWorker({ MAYFLY_HOST_ID: `images-${MAYFLY_HOST_ID}` })));
});
afterAll(async () => {
  await cluster.stop();
  await registry.stop();
  await rm(work, { recursive: true, force: true });
});

async function mayfly(...args: string[]) {
  const child = startProcess([join(ROOT, "cli/mayfly"), ...args], {
    env: { MAYFLY_URL: cluster.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => said.push(chunk));
  const { exitCode, stderrTail: stderr } = await finished(child);
  return { exitCode, stderr, stdout: Buffer.concat(said).toString() };
}

const ok = (stdout: RegExp) => ({ exitCode: 0, stderr: "", stdout: expect.stringMatching(stdout) });

async function hostsWith(reference: string): Promise<string[]> {
  const answer = await cluster.fetch("/v1/images");
  const { hosts } = (await answer.json()) as { hosts: { host: string; images: { references: string[] }[] }[] };
  const having = hosts.filter(({ images }) => images.some(({ references }) => references.includes(reference)));
  return having.map(({ host }) => host).toSorted();
}

const ALL = HOSTS.map((name) => `images-${name}`).toSorted();

it("a cluster asks the registry for each document and blob once, however many hosts pull", async () => {
  const extra = buildLayer([{ path: "extra", content: "x".repeat(300_000) }]);
  const image = await busyboxImage({}, { layers: [await busyboxLayer(), extra] });
  const { reference } = registry.add("demo/app:1", image);
  const pulled = await mayfly("pull", reference);
  expect(pulled).toMatchObject({ exitCode: 0 });
  expect(await hostsWith(reference)).toEqual(ALL);
  for (const { digest } of image.blobs) expect(registry.count(new RegExp(`blobs/${digest}`)), digest).toBe(1);
  const gets = registry.requests.filter(({ method, path }) => method === "GET" && path.includes("manifests/"));
  expect(gets).toHaveLength(1);
  const run = await cluster.run({ image: reference, command: ["wc", "-c", "/extra"], pull: "never" });
  expect(run).toMatchObject({ outcome: { kind: "exited", exitCode: 0 }, stdout: { data: "300000 /extra\n" } });
});

it("an image is saved, removed from all hosts, not found by a run that may not pull, loaded, and runs again", async () => {
  const { reference } = registry.add("demo/saved:1", await busyboxImage({ Cmd: ["echo", "I was away"] }));
  expect(await mayfly("pull", reference)).toMatchObject({ exitCode: 0 });
  const file = join(work, "saved.tar");
  expect(await mayfly("save", "-o", file, reference)).toMatchObject({ exitCode: 0, stderr: "" });
  expect(await mayfly("rmi", reference)).toMatchObject({ exitCode: 0 });
  expect(await hostsWith(reference)).toEqual([]);
  const absent = await cluster.run({ image: reference, pull: "never" });
  expect(absent.outcome).toMatchObject({ kind: "rejected", code: "image_not_present" });

  const asked = registry.requests.length;
  expect(await mayfly("load", "-i", file)).toMatchObject(ok(/saved:1/));
  expect(await hostsWith(reference)).toEqual(ALL);
  const run = await cluster.run({ image: reference, pull: "never" });
  expect(run).toMatchObject({ outcome: { kind: "exited", exitCode: 0 }, stdout: { data: "I was away\n" } });
  expect(registry.requests).toHaveLength(asked);

  const listed = await runProgram(["skopeo", "inspect", "--raw", `oci-archive:${file}`]);
  expect(JSON.parse(listed).layers).toHaveLength(1);
});

it("what a host has is listed, inspected, verified and counted by the command", async () => {
  const { reference } = registry.add("demo/looked-at:1", await busyboxImage({ Cmd: ["true"] }));
  expect(await mayfly("pull", reference)).toMatchObject({ exitCode: 0 });
  expect(await mayfly("images")).toMatchObject(ok(/demo\/looked-at:1/));
  expect(await mayfly("image", "inspect", reference)).toMatchObject(ok(/"true"/));
  expect(await mayfly("image", "history", reference)).toMatchObject({ exitCode: 0 });
  expect(await mayfly("image", "verify")).toMatchObject({ exitCode: 0 });
  expect(await mayfly("image", "usage")).toMatchObject(ok(/images-one/));
});

it("a host whose operator does not allow an image rejects its runs, and asks no registry", async () => {
  const { reference } = registry.add("forbidden/app:1", await busyboxImage());
  await cluster.startWorker({ MAYFLY_POOL: "doomed", MAYFLY_IMAGES_DENY: `${registry.host}/forbidden/**` });
  const asked = registry.requests.length;
  const run = await cluster.run({ image: reference, pool: "doomed" });
  expect(run.outcome).toMatchObject({ kind: "rejected", code: "image_not_allowed" });
  expect(registry.requests).toHaveLength(asked);
});

it("a run's tag is resolved anew when it asks for that, and its receipt has the digest", async () => {
  const first = registry.add("demo/moving:1", await busyboxImage({ Cmd: ["echo", "old"] }));
  const before = await cluster.run({ image: first.reference });
  registry.add("demo/moving:1", await busyboxImage({ Cmd: ["echo", "new"] }));
  const always = await cluster.run({ image: first.reference, pull: "always" });
  expect([before.stdout?.data, always.stdout?.data]).toEqual(["old\n", "new\n"]);
  expect(always.receipt?.imageDigest).not.toBe(before.receipt?.imageDigest);
});
