// Runs that no host has had, made by the scripts themselves: many in one pipeline, for what is measured of records and not of containers.

import { Redis } from "ioredis";
import { newRunId } from "../../../core/ids.ts";
import { facetsOf } from "../../../core/index-parts.ts";
import { transitionKeys } from "../../../core/keys.ts";
import { planRun } from "../../../core/plan.ts";
import type { RunRequest } from "../../../core/request.ts";
import { runTransition, transitions } from "../../../core/transitions.ts";

const POOL = "default";
const HOLDER = "bench";
const RETENTION_MS = 86_400_000;
const LEASE_MS = 60_000;
const MANY = 1_000_000;
const NOTHING = { cpus: 64, memoryBytes: 2 ** 40, pids: 1_000_000, slots: 1 };

export class Records {
  readonly #redis: Redis;

  constructor(url: string) {
    this.#redis = new Redis(url);
  }

  /** A tenant's runs, each as `requestOf` has it; all are cancelled at once but every `unfinished`th. In steps of a thousand. */
  async fill(tenant: string, count: number, { requestOf, unfinished }: Filling): Promise<void> {
    for (const { lua } of [transitions.submit, transitions.cancel]) await this.#redis.script("LOAD", lua);
    for (let from = 0; from < count; from += 1_000) {
      const pipeline = this.#redis.pipeline();
      for (let i = from; i < Math.min(count, from + 1_000); i++) {
        const id = newRunId();
        const names = transitionKeys.submit(id, POOL, facetsOf(tenant, requestOf(i)));
        pipeline.evalsha(transitions.submit.sha1, names.length, ...names, ...submission(id, tenant, requestOf(i)));
        if (i % unfinished === 0) continue;
        const keys = transitionKeys.cancel(id);
        const args = [id, JSON.stringify({ kind: "cancelled" }), RETENTION_MS, "0"];
        pipeline.evalsha(transitions.cancel.sha1, keys.length, ...keys, ...args);
      }
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
    }
  }

  /** A run whose program has started, nobody but it being there. */
  async start(tenant: string, request: RunRequest): Promise<string> {
    const id = newRunId();
    const names = transitionKeys.submit(id, POOL, facetsOf(tenant, request));
    await runTransition(this.#redis, transitions.submit, names, submission(id, tenant, request));
    const room = JSON.stringify({ host: "bench", ...NOTHING, capacity: NOTHING });
    await runTransition(this.#redis, transitions.offer, transitionKeys.offer(POOL), [
      HOLDER,
      room,
      Date.now(),
      0,
      POOL,
    ]);
    await runTransition(this.#redis, transitions.started, transitionKeys.started(id), [id, 1, HOLDER, LEASE_MS]);
    return id;
  }

  async write(id: string, offset: number, bytes: Buffer): Promise<void> {
    const args = [id, 1, HOLDER, offset, bytes];
    await runTransition(this.#redis, transitions.append, transitionKeys.append(id, "stdout"), args);
  }

  async finish(id: string): Promise<void> {
    const parts = [
      { kind: "exited", exitCode: 0 },
      { host: "bench", driver: "none", attempt: 1, phases: {} },
    ];
    const args = [id, 1, HOLDER, ...parts.map((part) => JSON.stringify(part)), "1", "", "", RETENTION_MS];
    const answer = await runTransition(this.#redis, transitions.finish, transitionKeys.finish(id), args);
    if (answer !== 1) throw new Error(`the run ${id} could not be finished: ${answer}`);
  }

  close(): void {
    this.#redis.disconnect();
  }
}

interface Filling {
  readonly requestOf: (i: number) => RunRequest;
  readonly unfinished: number;
}

/** In the order that `submit` of core/transitions.ts has. */
function submission(id: string, tenant: string, request: RunRequest): (string | number)[] {
  const { demand, size, priority, timeouts } = planRun(request);
  return [
    ...[id, tenant, POOL, demand.cpus, demand.memoryBytes, demand.pids, size, priority],
    ...["", 0, "+0", timeouts.queueMs, MANY, MANY],
    ...["", "", "", "", 0, ""],
    ...["request", JSON.stringify(request), "stdinClosed", "1"],
  ];
}
