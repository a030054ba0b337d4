// The gateway's side of artifacts: what runs have left, found by path and read a piece at a time.

import type { Redis } from "ioredis";
import { type Artifact, parseStored, type StoredArtifact } from "../../core/artifacts.ts";
import { MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import { onRedis } from "./redis.ts";

/** So much of an artifact is in memory at a time, for each who reads. */
const PIECE_BYTES = 256 * 1024;

export class Artifacts {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** In the order of their paths. */
  async list(id: string): Promise<Artifact[]> {
    const index = await onRedis(this.#redis, () => this.#redis.hgetall(keys.artifacts(id)));
    return Object.entries(index)
      .map(([path, line]) => toArtifact(path, parseStored(line)))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  async find(id: string, path: string): Promise<StoredArtifact | undefined> {
    const line = await onRedis(this.#redis, () => this.#redis.hget(keys.artifacts(id), path));
    return line === null ? undefined : parseStored(line);
  }

  /** Of all of them, as a tar. */
  tarBytes(id: string): Promise<number> {
    return onRedis(this.#redis, () => this.#redis.strlen(keys.artifactTar(id)));
  }

  /** So many bytes of the tar. Fails with `run_not_found` if the run is forgotten meanwhile. */
  async *read(id: string, offset: number, length: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const wanted = Math.min(PIECE_BYTES, length - at);
      const from = offset + at;
      const name = keys.artifactTar(id);
      const bytes = await onRedis(this.#redis, () => this.#redis.getrangeBuffer(name, from, from + wanted - 1));
      if (bytes.length < wanted) throw new MayflyError("run_not_found", `the run ${id} has been forgotten meanwhile`);
      yield bytes;
    }
  }
}

function toArtifact(path: string, { bytes, mode, modifiedMs, sha256 }: StoredArtifact): Artifact {
  const modified = new Date(modifiedMs).toISOString();
  return { path, bytes, mode: mode.toString(8).padStart(4, "0"), modified, sha256 };
}
