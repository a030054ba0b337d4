// A worker and the host that it is started on: told in one line, before anything runs there.

import { afterAll, beforeAll, expect, it } from "vitest";
import { WEAKNESS_NAMES } from "../../runtime/index.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ workers: 0 });
});
afterAll(() => cluster.stop());

it("a worker does not start with a weakness that there is not, and names those there are", async () => {
  await expect(cluster.startWorker({ MAYFLY_ALLOW_WEAKER: "uncounted-swap,seccomp" })).rejects.toThrow(
    `is not names separated by commas, of ${WEAKNESS_NAMES.join(", ")}`,
  );
});

it("a worker tells once what its host is like, before it is ready, and runs there whatever it may be allowed", async () => {
  const { process: worker } = await cluster.startWorker({ MAYFLY_ALLOW_WEAKER: WEAKNESS_NAMES.join(",") });
  expect((await cluster.run({ command: ["true"] })).outcome).toEqual({ kind: "exited", exitCode: 0 });
  const events = worker.lines.map(({ event }) => event);
  expect(events.filter((event) => event === "host.probed")).toHaveLength(1);
  expect(events.indexOf("host.probed")).toBeLessThan(events.indexOf("worker.ready"));
  expect(worker.lines.find(({ event }) => event === "host.probed")).toMatchObject({
    kernel: expect.stringMatching(/^\d+\.\d+/),
    cgroups: expect.stringMatching(/^(v1|hybrid|v2)$/),
    userNamespaces: true,
    overlayfs: true,
    seccomp: true,
    weaker: expect.any(Array),
  });
});
