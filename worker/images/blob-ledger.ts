// Who has a blob, and who fetches it now, as the hosts of a cluster tell each other in Redis.
//
//   holders   a host is believed to have a blob until HELD_MS after it last said so
//   turn      one host at a time fetches a blob from its registry; a turn that is not renewed goes to another

import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { HostRecord } from "../../core/host.ts";
import { keys } from "../../core/keys.ts";

/** A host says again what it has well before that (peers.ts), so that one that has gone is not asked for long. */
export const HELD_MS = 600_000;

/** So many blobs are told of in one go: some ten milliseconds of Redis' time. */
const BATCH = 500;

const HOLD = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', key, ARGV[2])
end`;

const HOLDERS = `
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')`;

const RENEW = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** Every method fails as Redis does. */
export class BlobLedger {
  readonly #redis: Redis;
  readonly #hostId: string;

  constructor(redis: Redis, hostId: string) {
    this.#redis = redis;
    this.#hostId = hostId;
  }

  async hold(hexes: readonly string[]): Promise<void> {
    for (let at = 0; at < hexes.length; at += BATCH) {
      const names = hexes.slice(at, at + BATCH).map(keys.blob);
      await this.#redis.eval(HOLD, names.length, ...names, this.#hostId, HELD_MS);
    }
  }

  async drop(hexes: readonly string[]): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const hex of hexes) pipeline.zrem(keys.blob(hex), this.#hostId);
    await pipeline.exec();
  }

  /** Other hosts that have the blob, live, and can be asked. */
  async holders(hex: string): Promise<(HostRecord & { imagesUrl: string })[]> {
    const ids = (await this.#redis.eval(HOLDERS, 1, keys.blob(hex))) as string[];
    const others = ids.filter((id) => id !== this.#hostId);
    if (others.length === 0) return [];
    const texts = await this.#redis.mget(others.map(keys.host));
    return texts.flatMap((text) => {
      const record = text === null ? undefined : HostRecord.safeParse(JSON.parse(text)).data;
      return record?.imagesUrl === undefined ? [] : [{ ...record, imagesUrl: record.imagesUrl }];
    });
  }

  /** The turn to fetch the blob, for so long unless it is renewed; undefined if another has it. */
  async takeTurn(hex: string, forMs: number): Promise<Turn | undefined> {
    const token = `${this.#hostId} ${randomBytes(8).toString("hex")}`;
    const taken = await this.#redis.set(keys.fetch(hex), token, "PX", forMs, "NX");
    return taken === null ? undefined : new Turn(this.#redis, keys.fetch(hex), token);
  }
}

export class Turn {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #token: string;

  constructor(redis: Redis, key: string, token: string) {
    this.#redis = redis;
    this.#key = key;
    this.#token = token;
  }

  /** False if it went to another. */
  async renew(forMs: number): Promise<boolean> {
    return (await this.#redis.eval(RENEW, 1, this.#key, this.#token, forMs)) === 1;
  }

  /** Idempotent. */
  async release(): Promise<void> {
    await this.#redis.eval(RELEASE, 1, this.#key, this.#token);
  }
}
