// Two gateways and three workers, with clocks that are minutes apart: one cluster all the same.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { eventually } from "../helpers/eventually.ts";
import { ROOT } from "../helpers/process.ts";

const MINUTES = 60_000;
/** Of each process that is started: what a clock may be off by where nobody keeps it. */
const SKEWS = { gateways: [-7 * MINUTES, 11 * MINUTES], workers: [5 * MINUTES, -9 * MINUTES, 0] };

const skewed = (ms: number | undefined) => ({
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, "test/helpers/skewed-clock.ts"))}`,
  CLOCK_SKEW_MS: String(ms),
});

let cluster: Cluster;
let gateways: readonly string[];

beforeAll(async () => {
  cluster = await startCluster({ workers: 0, gatewayEnv: skewed(SKEWS.gateways[0]) });
  gateways = [cluster.url, await cluster.startGateway(skewed(SKEWS.gateways[1]))];
  for (const ms of SKEWS.workers) await cluster.startWorker({ MAYFLY_SLOTS: "2", ...skewed(ms) });
});
afterAll(() => cluster.stop());

const post = async (gateway: string, request: object, prefer = "wait=60"): Promise<Run> => {
  const answer = await fetch(`${gateway}/v1/runs`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer, connection: "close" },
    body: JSON.stringify({ image: cluster.image, ...request }),
  });
  expect(answer.ok, await answer.clone().text()).toBe(true);
  return (await answer.json()) as Run;
};
const ask = async (gateway: string, path: string, init: RequestInit = {}) =>
  fetch(`${gateway}${path}`, { ...init, headers: { ...init.headers, connection: "close" } });
const ended = async (gateway: string, id: string) =>
  (await (await ask(gateway, `/v1/runs/${id}`, { headers: { prefer: "wait=60" } })).json()) as Run;

describe("in a cluster whose clocks are minutes apart", () => {
  it("hosts are there for both gateways, for all that they say of the time", async () => {
    for (const gateway of gateways)
      await eventually(async () => {
        const { hosts } = (await (await ask(gateway, "/v1/hosts")).json()) as { hosts: unknown[] };
        expect(hosts).toHaveLength(SKEWS.workers.length);
      });
  });

  it("every run that either gateway takes ends once, on some of the hosts, and both answer for it alike", async () => {
    const asked = Array.from({ length: 24 }, (_, i) =>
      post(gateways[i % 2] as string, { command: ["sh", "-c", `sleep 0.2; echo ${i}`], labels: { of: "all" } }),
    );
    const runs = await Promise.all(asked);
    for (const [i, run] of runs.entries()) {
      expect(run).toMatchObject({ attempt: 1, outcome: { kind: "exited", exitCode: 0 }, stdout: { data: `${i}\n` } });
      const [one, other] = await Promise.all(gateways.map((gateway) => ended(gateway, run.id)));
      expect(other).toEqual(one);
    }
    expect(new Set(runs.map((run) => run.receipt?.host)).size).toBe(SKEWS.workers.length);
    for (const gateway of gateways) {
      const counts = await (await ask(gateway, "/v1/runs/count?label=of%3Dall")).json();
      expect(counts).toMatchObject({ total: runs.length });
    }
  });

  it("a run is watched, fed and cancelled through the gateway that did not take it", async () => {
    const [one, other] = gateways as [string, string];
    const fed = await post(one, { command: ["cat"], stdin: { stream: true } }, "respond-async");
    expect((await ask(other, `/v1/runs/${fed.id}/stdin?close=true`, { method: "POST", body: "across" })).ok).toBe(true);
    expect(await (await ask(other, `/v1/runs/${fed.id}/events`)).text()).toContain("event: end");
    expect(await ended(one, fed.id)).toMatchObject({
      outcome: { kind: "exited", exitCode: 0 },
      stdout: { data: "across" },
    });
    const long = await post(one, { command: ["sleep", "300"] }, "respond-async");
    await eventually(async () =>
      expect(await (await ask(other, `/v1/runs/${long.id}`)).json()).toMatchObject({ state: "running" }),
    );
    expect((await ask(other, `/v1/runs/${long.id}/cancel`, { method: "POST" })).ok).toBe(true);
    expect(await ended(one, long.id)).toMatchObject({ outcome: { kind: "cancelled" } });
  });

  it("clocks of a run and delays are as long as they are asked for, by whichever host", async () => {
    const asked = gateways.flatMap((gateway) => [
      post(gateway, { command: ["sleep", "300"], timeouts: { run: "1s" } }),
      post(gateway, { command: ["true"], delay: "1s" }),
    ]);
    const outcomes = (await Promise.all(asked)).map(({ outcome }) => outcome);
    const timedOut = { kind: "timed_out", clock: "run", limit: "1s" };
    const exited = { kind: "exited", exitCode: 0 };
    expect(outcomes).toEqual([timedOut, exited, timedOut, exited]);
  });

  it("holds are renewed for longer than a lease is", async () => {
    const runs = await Promise.all(SKEWS.workers.map(() => post(gateways[1] as string, { command: ["sleep", "14"] })));
    for (const run of runs) expect(run).toMatchObject({ attempt: 1, outcome: { kind: "exited", exitCode: 0 } });
  });
});
