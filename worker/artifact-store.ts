// A run's artifacts in Redis: a tar that grows, and the index that says what is in it. Only who holds the attempt writes, as with output.

import type { Redis } from "ioredis";
import { type ArtifactFacts, formatStored, type StoredArtifact } from "../core/artifacts.ts";
import { MayflyError } from "../core/errors.ts";
import { keys } from "../core/keys.ts";
import type { RunRecord } from "../core/record.ts";
import { END } from "../core/tar-writer.ts";
import { define, type Transition } from "../core/transition-parts.ts";
import { runTransition, transitions } from "../core/transitions.ts";
import type { ArtifactSink } from "./artifacts.ts";

/** ARGV: attempt, holder, length → 1 | 0 if the attempt is over, or it is sealed | -1 if there is less */
const cut = define(`
  local run, tar = unpack(KEYS)
  local attempt, holder, length = unpack(ARGV)
  if not held(run, attempt, holder) or redis.call('HEXISTS', run, 'artifacts') == 1 then return 0 end
  local stored = redis.call('STRLEN', tar)
  if stored < tonumber(length) then return -1 end
  if length == '0' then redis.call('DEL', tar)
  elseif stored > tonumber(length) then redis.call('SET', tar, redis.call('GETRANGE', tar, 0, length - 1)) end
  return 1
`);

/**
 * Asked twice, it answers the same. ARGV: attempt, holder, length, the archive's end, facts, then path, line of the index …
 * → 1 | 0 if the attempt is over | -1 if the tar is of another length
 */
const seal = define(`
  local run, tar, index = unpack(KEYS)
  local attempt, holder, length, ending, facts = unpack(ARGV)
  if not held(run, attempt, holder) then return 0 end
  if redis.call('HEXISTS', run, 'artifacts') == 1 then return 1 end
  if redis.call('STRLEN', tar) ~= tonumber(length) then return -1 end
  redis.call('APPEND', tar, ending)
  if #ARGV > 5 then redis.call('HSET', index, unpack(ARGV, 6)) end
  redis.call('HSET', run, 'artifacts', facts)
  return 1
`);

type Attempt = Pick<RunRecord, "id" | "attempt">;

/** Those of an attempt. One that is over stores nothing, and learns of it by its lease. */
export class ArtifactStore implements ArtifactSink {
  readonly #redis: Redis;
  readonly #attempt: Attempt;
  readonly #holder: string;

  constructor(redis: Redis, attempt: Attempt, holder: string) {
    this.#redis = redis;
    this.#attempt = attempt;
    this.#holder = holder;
  }

  append(offset: number, bytes: Buffer): Promise<void> {
    const { id, attempt } = this.#attempt;
    return this.#run(transitions.append, [keys.artifactTar(id)], [id, attempt, this.#holder, offset, bytes]);
  }

  cut(length: number): Promise<void> {
    const { id, attempt } = this.#attempt;
    return this.#run(cut, [keys.artifactTar(id)], [attempt, this.#holder, length]);
  }

  seal(length: number, index: ReadonlyMap<string, StoredArtifact>, facts: ArtifactFacts): Promise<void> {
    const { id, attempt } = this.#attempt;
    const lines = [...index].flatMap(([path, stored]) => [path, formatStored(stored)]);
    const args = [attempt, this.#holder, length, END, JSON.stringify(facts), ...lines];
    return this.#run(seal, [keys.artifactTar(id), keys.artifacts(id)], args);
  }

  async #run(script: Transition, names: readonly string[], args: readonly (string | number | Buffer)[]): Promise<void> {
    const answer = await runTransition(this.#redis, script, [keys.run(this.#attempt.id), ...names], args);
    if (answer === -1) throw new MayflyError("host_unavailable", "Redis has lost artifacts that it had stored");
  }
}
