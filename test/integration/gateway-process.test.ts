// The gateway as a process: what it refuses to start with, what it gives up, and how it leaves.

import { readdir, readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Run } from "../../core/run.ts";
import { eventually } from "../helpers/eventually.ts";
import { startFakeWorker } from "../helpers/fake-worker.ts";
import { type Gateway, type GatewayOptions, startGateway } from "../helpers/gateway.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** However the test ends, its gateway does too. */
async function start(options: Omit<GatewayOptions, "redisUrl"> = {}): Promise<Gateway> {
  const gateway = await startGateway({ redisUrl: server.url, ...options });
  onTestFinished(() => void gateway.stop("SIGKILL"));
  return gateway;
}

describe("a gateway does not start", () => {
  test.each<[string, Omit<GatewayOptions, "redisUrl">, string]>([
    [
      "with a variable that is not Mayfly's",
      { env: { MAYFLY_API_KEY_FILE: "/k" } },
      "MAYFLY_API_KEY_FILE is not a setting",
    ],
    ["on all addresses without keys", { env: { MAYFLY_LISTEN_HOST: "0.0.0.0" } }, "MAYFLY_API_KEYS_FILE"],
    [
      "with a file of keys that it cannot read",
      { env: { MAYFLY_API_KEYS_FILE: "/nowhere/keys" } },
      "not the path of a readable file",
    ],
    ["with a file of keys that has none", { keys: {} }, "it has no key"],
    ["as a user there is not", { env: { MAYFLY_GATEWAY_USER: "no-such-user" } }, "no-such-user"],
    ["as root", { env: { MAYFLY_GATEWAY_USER: "root" } }, "is root"],
    ["with a limit that it cannot read", { env: { MAYFLY_MAX_BODY: "8" } }, 'MAYFLY_MAX_BODY=\\"8\\" is not a size'],
  ])("%s, and says so", async (_, options, why) => {
    const failed = await start(options).then(
      (gateway) => gateway.stop().then(() => "it started"),
      (error: Error) => error.message,
    );
    expect(failed).toContain("ended with 1 ");
    expect(failed.replaceAll('\\\\"', '\\"')).toContain(why);
    expect(failed).toContain("gateway.failed");
    expect(failed).not.toContain("gateway.listening");
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "a gateway that is started as root is not root in any thread when it listens, and is in no other group",
  async () => {
    const gateway = await start();
    const threads = await readdir(`/proc/${gateway.pid}/task`);
    expect(threads.length).toBeGreaterThan(1);
    for (const thread of threads) {
      const status = await readFile(`/proc/${gateway.pid}/task/${thread}/status`, "utf8");
      const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim().split(/\s+/);
      expect(field("Uid")).toEqual(Array(4).fill("65534"));
      expect(field("Gid")).toEqual(Array(4).fill("65534"));
      expect(field("Groups")).toEqual([""]);
      expect(field("CapEff")).toEqual(["0000000000000000"]);
      expect(field("CapPrm")).toEqual(["0000000000000000"]);
    }
    expect(await gateway.logged("gateway.listening")).toMatchObject({ user: "nobody" });
    await gateway.stop();
  },
);

test("a gateway without keys says in its log who may run containers", async () => {
  const gateway = await start();
  expect(await gateway.logged("gateway.open")).toMatchObject({ level: "warn" });
  await gateway.stop();
  const keyed = await start({ keys: { acme: "k" } });
  await keyed.fetch("/v1/runs");
  expect(keyed.log.map(({ event }) => event)).not.toContain("gateway.open");
  await keyed.stop();
});

describe("a gateway that is told to stop", () => {
  const waitForRun = (gateway: Gateway) =>
    gateway.fetch("/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json", prefer: "wait=60" },
      body: JSON.stringify({ image: "busybox" }),
    });
  const ready = (gateway: Gateway) => eventually(async () => expect((await gateway.fetch("/readyz")).status).toBe(200));

  test.each(["SIGTERM", "SIGINT"] as const)("by %s ends with 0, when nothing is under way at once", async (signal) => {
    const gateway = await start();
    expect(await gateway.stop(signal)).toBe(0);
    expect(gateway.log.at(-1)).toMatchObject({ event: "gateway.stopped" });
  });

  test("answers what is under way before it goes", async () => {
    const gateway = await start();
    await ready(gateway);
    const claimed = Promise.withResolvers<void>();
    const stopping = Promise.withResolvers<void>();
    const worker = await startFakeWorker({
      redisUrl: server.url,
      behave: async (attempt) => {
        claimed.resolve();
        await stopping.promise;
        await attempt.exit(0);
      },
    });
    onTestFinished(() => worker.stop());
    const answer = waitForRun(gateway).then(
      async (response) => ((await response.json()) as Run).state,
      () => "cut off",
    );
    await claimed.promise;
    const stopped = gateway.stop();
    await gateway.logged("gateway.stopping");
    stopping.resolve();
    expect(await answer).toBe("finished");
    expect(await stopped).toBe(0);
  });

  test("does not wait for ever for a run that goes on, and the run is not disturbed", async () => {
    const gateway = await start();
    await ready(gateway);
    const answer = waitForRun(gateway);
    await eventually(async () => {
      const { runs } = (await (await gateway.fetch("/v1/runs?state=queued")).json()) as { runs: Run[] };
      expect(runs).toHaveLength(1);
    });
    expect(await gateway.stop()).toBe(0);
    expect((await answer).status).toBe(202); // The run as it is; another gateway can be asked for the rest.
    const next = await start();
    await ready(next);
    const { runs } = (await (await next.fetch("/v1/runs?state=queued")).json()) as { runs: Run[] };
    expect(runs).toHaveLength(1);
    await next.stop();
  });
});
