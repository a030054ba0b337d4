// How many requests a tenant may make: a bucket of tokens in Redis, one for all gateways. A tenant without a rate costs no round trip.

import type { Redis } from "ioredis";
import { keys } from "../../core/keys.ts";
import { runTransition } from "../../core/transitions.ts";
import { Fresh } from "./fresh.ts";
import { keyScripts } from "./key-scripts.ts";
import { onRedis } from "./redis.ts";
import type { TenantStore } from "./tenant-store.ts";

/** What a request was granted of its tenant's rate. */
export interface Grant {
  readonly granted: boolean;
  /** Requests a second. */
  readonly rate: number;
  readonly burst: number;
  /** What is left in the bucket; more than one is one more request. */
  readonly tokens: number;
}

/** Answers nothing for a tenant that has no rate. Errors: `queue_unavailable`. */
export type TakeToken = (tenant: string) => Promise<Grant | undefined>;

export class RateLimits {
  readonly #redis: Redis;
  readonly #rated: Fresh<{ readonly isRated: boolean }>;

  constructor(redis: Redis, tenants: Pick<TenantStore, "isRated">) {
    this.#redis = redis;
    this.#rated = new Fresh(async (tenant) => ({ isRated: await tenants.isRated(tenant) }));
  }

  /** Of a tenant that was asked for a moment ago and has no rate, it answers without Redis. */
  readonly take: TakeToken = async (tenant) => {
    const known = this.#rated.get(tenant);
    const rated = known instanceof Promise ? await known : known;
    if (!rated?.isRated) return undefined;
    const names = [keys.tenant(tenant), keys.bucket(tenant)];
    const answer = (await onRedis(this.#redis, () => runTransition(this.#redis, keyScripts.take, names, []))) as
      | []
      | [rate: string, burst: string, granted: number, tokens: string];
    if (answer.length === 0) return undefined; // It was taken away since.
    const [rate, burst, granted, tokens] = answer;
    return { rate: Number(rate), burst: Number(burst), granted: granted === 1, tokens: Number(tokens) };
  };

  forget(tenant: string): void {
    this.#rated.forget(tenant);
  }

  forgetAll(): void {
    this.#rated.forgetAll();
  }
}
