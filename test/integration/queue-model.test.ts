// Histories that are made up: runs submitted and cancelled, workers started, stopped and killed, Redis restarted, all at once. After
// each: every accepted run has exactly one outcome, no two of its attempts overlapped, and no quota and no cap was ever exceeded.
//
// A worker that is killed loses its connections in the middle of everything; its leases are ended by the test, as time would.

import { Redis } from "ioredis";
import { afterEach, describe, expect, test } from "vitest";
import { monotonicMs } from "../../core/clock.ts";
import { isMayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import { parseRecord } from "../../core/record.ts";
import { Reaper } from "../../gateway/dispatch/reaper.ts";
import { connectRedis } from "../../gateway/dispatch/redis.ts";
import { RunStore } from "../../gateway/dispatch/run-store.ts";
import { eventually } from "../helpers/eventually.ts";
import { type FakeAttempt, type FakeWorker, startFakeWorker } from "../helpers/fake-worker.ts";
import { heardLog } from "../helpers/heard-log.ts";
import { type RedisServer, startRedis } from "../helpers/redis.ts";
import { seeded } from "../helpers/seeded.ts";

const SEEDS = [1, 2, 3, 4];
const STEPS = 120;
const TENANTS = ["capped", "free", "heavy"] as const;
const QUOTA = 3;
const CAP = 2;
const LIMITS = { maxQueued: 10_000, maxKept: 10_000, maxStdinBytes: 100, retentionMs: 600_000 };

interface Life {
  readonly id: string;
  readonly attempt: number;
  readonly tenant: string;
  readonly key: string | undefined;
  readonly fromMs: number;
  toMs: number;
}

/** What really happened on the hosts, by the test's own clock. */
class Hosts {
  readonly lives: Life[] = [];
  readonly excesses: string[] = [];
  readonly #running = new Map<Life, string>();

  begin(worker: string, { record }: FakeAttempt): Life {
    const { id, attempt, tenant, request } = record;
    const nowMs = monotonicMs();
    const life = { id, attempt, tenant, key: request.concurrency?.key, fromMs: nowMs, toMs: Number.POSITIVE_INFINITY };
    this.lives.push(life);
    this.#running.set(life, worker);
    const alive = [...this.#running.keys()];
    if (alive.filter((each) => each.tenant === "capped").length > QUOTA) this.excesses.push(`quota by ${id}`);
    const alike = alive.filter((each) => each.key !== undefined && each.tenant === tenant && each.key === life.key);
    if (alike.length > CAP) this.excesses.push(`cap of ${life.key} by ${id}`);
    return life;
  }

  end(life: Life): void {
    life.toMs = Math.min(life.toMs, monotonicMs());
    this.#running.delete(life);
  }

  /** The kernel's part: with its worker every program of it is dead. */
  die(worker: string): void {
    for (const [life, by] of this.#running) if (by === worker) this.end(life);
  }
}

describe.each(SEEDS)("in the history of seed %i", (seed) => {
  let server: RedisServer;
  const stops: (() => unknown)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
    await server.stop();
  });

  test("every run that was accepted ends once, alone, and within what its tenant may have", {
    timeout: 300_000,
  }, async () => {
    server = await startRedis({ fsync: "always" });
    const pick = seeded(seed);
    const redis = new Redis(server.url, { maxRetriesPerRequest: null });
    redis.on("error", () => {});
    stops.push(() => redis.disconnect());
    const connections = [connectRedis(server.url), connectRedis(server.url)];
    for (const connection of connections) {
      connection.on("error", () => {});
      await connection.connect();
      stops.push(() => connection.disconnect());
    }
    const gateways = connections.map((connection) => new RunStore({ redis: connection, ...LIMITS }));
    await redis.hset(keys.tenant("capped"), { running: QUOTA });
    await redis.hset(keys.tenant("heavy"), { weight: 3 });
    for (const gateway of gateways) {
      const reaper = new Reaper(gateway, ["default"], heardLog());
      reaper.start();
      stops.push(() => reaper.close());
    }

    const hosts = new Hosts();
    const workers = new Map<string, FakeWorker>();
    let hired = 0;
    const hire = async () => {
      const hostId = `host-${++hired}`;
      const behave = async (attempt: FakeAttempt) => {
        const life = hosts.begin(hostId, attempt);
        try {
          const goesOn = await attempt.started();
          if (goesOn) await new Promise((done) => setTimeout(done, pick(15)));
          hosts.end(life); // Before its end is told: whoever is next may start in that moment.
          if (goesOn) await attempt.exit(0);
        } catch {
          hosts.end(life); // The worker was killed, and what it had to say is lost.
        }
      };
      const capacity = { slots: 2 + pick(4) };
      workers.set(hostId, await startFakeWorker({ redisUrl: server.url, hostId, behave, capacity }));
    };
    const kill = async () => {
      const [hostId = "", worker] = [...workers][pick(workers.size)] ?? [];
      if (!worker) return;
      workers.delete(hostId);
      worker.redis.disconnect();
      worker.subscriber.disconnect();
      hosts.die(hostId);
      for (const id of await redis.zrange(keys.deadlines, "0", "-1"))
        if ((await redis.hget(keys.run(id), "host")) === hostId) await redis.zadd(keys.deadlines, "XX", 0, id);
    };
    const accepted: string[] = [];
    const submit = async () => {
      const tenant = TENANTS[pick(TENANTS.length)] ?? "free";
      const concurrency = pick(3) === 0 ? { key: `k${pick(2)}`, max: CAP } : undefined;
      const request = { image: "busybox", retries: pick(3), ...(concurrency ? { concurrency } : {}) };
      const delayed = pick(5) === 0 ? { delay: `${pick(50)}ms` } : {};
      // A call whose answer is lost with Redis is made again, as a client would.
      const idempotencyKey = `call-${accepted.length}-${pick(1e9)}`;
      for (;;) {
        try {
          const gateway = gateways[pick(2)] as RunStore;
          accepted.push(
            await gateway.submit({ tenant, request: { ...request, ...delayed }, waiter: undefined, idempotencyKey }),
          );
          return;
        } catch (error) {
          if (!isMayflyError(error) || error.reason !== "queue_unavailable") throw error;
          await new Promise((again) => setTimeout(again, 20));
        }
      }
    };
    const cancel = async () => {
      const id = accepted[pick(Math.max(1, accepted.length))];
      const record = id && parseRecord(await redis.hgetall(keys.run(id)));
      if (record) await gateways[pick(2)]?.cancel(record).catch(() => {});
    };

    await hire();
    for (let step = 0; step < STEPS; step++) {
      const dice = pick(100);
      if (dice < 70) await submit();
      else if (dice < 80) await cancel();
      else if (dice < 86 && workers.size < 4) await hire();
      else if (dice < 93) await kill();
      else if (dice < 95) await server.restart();
      else await new Promise((later) => setTimeout(later, pick(10)));
    }
    if (workers.size === 0) await hire();
    await eventually(async () => {
      const states = await Promise.all(accepted.map((id) => redis.hget(keys.run(id), "state")));
      expect(states.filter((state) => state !== "finished")).toEqual([]);
    });

    for (const id of accepted) {
      const record = parseRecord(await redis.hgetall(keys.run(id)));
      expect(record?.outcome?.kind).toMatch(/^(exited|cancelled|lost)$/);
      const lives = hosts.lives.filter((life) => life.id === id).toSorted((a, b) => a.fromMs - b.fromMs);
      expect(new Set(lives.map(({ attempt }) => attempt)).size).toBe(lives.length);
      lives.forEach((life, i) => {
        const next = lives[i + 1];
        if (next) expect(next.fromMs).toBeGreaterThanOrEqual(life.toMs);
      });
    }
    expect(new Set(accepted).size).toBe(accepted.length);
    expect(hosts.excesses).toEqual([]);
    expect(hosts.lives.length).toBeGreaterThan(accepted.length / 2);
    for (const worker of workers.values()) await worker.stop();
    // What is counted is back at nothing.
    for (const tenant of TENANTS) expect(await redis.exists(keys.use(tenant), keys.gates(tenant))).toBe(0);
    expect(await redis.exists(keys.queued("default"), keys.lines("default"), keys.delayed, keys.deadlines)).toBe(0);
  });
});
