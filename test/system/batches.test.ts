// A small batch against all of it: real gateway, queue, worker and containers.

import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../../cli/client.ts";
import type { BatchResult } from "../../core/batch.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { ROOT } from "../helpers/process.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());

test("each item runs in a container of its own, with its input, and what it wrote and how it ended is its result", async () => {
  const { batches } = createClient({ url: cluster.url });
  const template = { image: cluster.image, command: ["sh", "-c", "echo $0 > /file; cat /file -; exit $1", "{}", "{}"] };
  const head = JSON.stringify({ batch: { template, stdin: true, concurrency: 4 } });
  const inputs = Array.from({ length: 20 }, (_, i) => JSON.stringify({ input: String(i), key: `k${i}` }));
  const sent = await batches.run([[head, ...inputs]]);
  const seen: BatchResult[] = [];
  for await (const result of batches.results(sent.id, { order: "input" })) seen.push(result);
  expect(seen.map(({ key, stdout, outcome }) => [key, stdout?.data, outcome])).toEqual(
    inputs.map((_, i) => [`k${i}`, `${i}\n${i}`, { kind: "exited", exitCode: i }]),
  );
  expect(await batches.inspect(sent.id)).toMatchObject({ state: "finished", counts: { succeeded: 1, failed: 19 } });
});

test("a batch that is cancelled leaves no container behind that runs on", async () => {
  const { batches, getRun } = createClient({ url: cluster.url });
  const template = { image: cluster.image, command: ["sleep", "{}"] };
  const sent = await batches.run([
    [JSON.stringify({ batch: { template } }), ...Array.from({ length: 50 }, () => '"300"')],
  ]);
  let running = 0;
  while (running === 0) ({ running } = (await batches.inspect(sent.id)).counts);
  await batches.cancel(sent.id);
  const runs: string[] = [];
  for await (const { run, outcome } of batches.results(sent.id)) {
    expect(outcome).toEqual({ kind: "cancelled" });
    if (run !== undefined) runs.push(run);
  }
  expect(await batches.inspect(sent.id)).toMatchObject({ state: "cancelled", counts: { total: 50, cancelled: 50 } });
  for (const run of runs) expect((await getRun(run)).state).toBe("finished");
});

test("mayfly map runs a command for each line of stdin", async () => {
  const child = startProcess(
    [join(ROOT, "cli/mayfly"), "map", "-k", "-j", "3", cluster.image, "--", "sh", "-c", "echo '<{}>'"],
    {
      env: { MAYFLY_URL: cluster.url },
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
  const stdout: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stdin?.end("one\ntwo\nthree\n");
  const { exitCode } = await finished(child);
  expect([exitCode, Buffer.concat(stdout).toString()]).toEqual([0, "<one>\n<two>\n<three>\n"]);
});
