// What is kept of finished runs, and how it goes: when its retention is over, when it is removed, when a tenant keeps more than it may (in
// `submit`). Whichever it is, every key of the run goes at once, and the run goes from every set that it is in.

import type { Redis } from "ioredis";
import { MayflyError } from "../../core/errors.ts";
import { DEAD_LETTERS } from "../../core/index-parts.ts";
import { keys } from "../../core/keys.ts";
import type { RunRecord } from "../../core/record.ts";
import { define } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";
import { onRedis } from "./redis.ts";

/** How many are forgotten in one step. */
const BATCH = 100;
/** How many steps one call takes at most: more than a cluster finishes runs in the time between two calls. */
const STEPS = 100;

/** → how many were forgotten */
const forgetDue = define(`
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, ${BATCH})
  for _, id in ipairs(due) do forget(id) end
  return #due
`);

/** ARGV: id → "removed" | "goes on" */
const remove = define(`
  local state = redis.call('HGET', KEYS[1], 'state')
  if state and state ~= 'finished' then return 'goes on' end
  forget(ARGV[1])
  return 'removed'
`);

/** A run is no dead letter any more; its input and its files go. ARGV: id → 1 | 0 if it was none */
const dismiss = define(`
  local letters, stdin, files = unpack(KEYS)
  if redis.call('ZREM', letters, ARGV[1]) == 0 then return 0 end
  redis.call('UNLINK', stdin, files)
  return 1
`);

export class Kept {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Runs whose retention is over. Answers how many there were. */
  async forgetDue(): Promise<number> {
    let total = 0;
    for (let step = 0; step < STEPS; step++) {
      const count = Number(await this.#run(forgetDue, [keys.finished], []));
      total += count;
      if (count < BATCH) break;
    }
    return total;
  }

  /** Safe to repeat. Throws `run_not_finished`. */
  async remove({ id }: RunRecord): Promise<void> {
    const answer = await this.#run(remove, [keys.run(id)], [id]);
    if (answer === "goes on")
      throw new MayflyError("run_not_finished", `the run ${id} has not finished: cancel it first`);
  }

  /** False if it was none. */
  async dismiss({ id, tenant }: Pick<RunRecord, "id" | "tenant">): Promise<boolean> {
    const names = [keys.facet(`${tenant}:${DEAD_LETTERS}`), keys.stdin(id), keys.files(id)];
    return (await this.#run(dismiss, names, [id])) === 1;
  }

  async isDeadLetter({ id, tenant }: Pick<RunRecord, "id" | "tenant">): Promise<boolean> {
    const set = keys.facet(`${tenant}:${DEAD_LETTERS}`);
    return onRedis(this.#redis, async () => (await this.#redis.zscore(set, id)) !== null);
  }

  /** What a dead letter was given as stdin. */
  async inputOf(id: string): Promise<Buffer> {
    return onRedis(this.#redis, async () => (await this.#redis.getBuffer(keys.stdin(id))) ?? Buffer.alloc(0));
  }

  /** What a dead letter was given as files, as JSON; undefined if none. */
  async filesOf(id: string): Promise<string | undefined> {
    return onRedis(this.#redis, async () => (await this.#redis.get(keys.files(id))) ?? undefined);
  }

  #run(
    script: Parameters<typeof runTransition>[1],
    names: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    return onRedis(this.#redis, () => runTransition(this.#redis, script, names, args));
  }
}
