// Tenants in Redis: how much of the cluster each may have. The scripts of runs read the same hashes.

import type { Redis } from "ioredis";
import { keys } from "../../core/keys.ts";
import { TENANT_BOUNDS, type Tenant, type TenantChange, type TenantPage } from "../../core/tenant.ts";
import { runTransition } from "../../core/transitions.ts";
import { formatSize, parseSize } from "../../core/units.ts";
import { keyScripts } from "./key-scripts.ts";
import { tooManyTenants } from "./key-store.ts";
import { onRedis } from "./redis.ts";

const NUMBERS = ["running", "queued", "cpus", "rate", "burst"] as const;

export class TenantStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Those that have settings or keys in Redis, by name. */
  async list({ limit, cursor }: { limit: number; cursor?: string | undefined }): Promise<TenantPage> {
    const from = cursor === undefined ? "-" : `(${cursor}`;
    const names = await onRedis(this.#redis, () => this.#redis.zrangebylex(keys.tenants, from, "+", "LIMIT", 0, limit));
    const next = names.length === limit ? names.at(-1) : undefined;
    const tenants = await Promise.all(names.map((name) => this.get(name)));
    return { tenants, ...(next === undefined ? {} : { next }) };
  }

  /** Any name is a tenant's: one that nothing was set for has what a tenant has by itself. */
  async get(name: string): Promise<Tenant> {
    const [stored, count] = await onRedis(this.#redis, () =>
      Promise.all([
        this.#redis.hgetall(keys.tenant(name)),
        this.#redis.zlexcount(keys.apiKeys, `[${name} `, `(${name}!`),
      ]),
    );
    const quotas = NUMBERS.flatMap((field) => (stored[field] === undefined ? [] : [[field, Number(stored[field])]]));
    const memory = stored.memoryBytes === undefined ? {} : { memory: formatSize(Number(stored.memoryBytes)) };
    return { name, weight: Number(stored.weight ?? 1), ...Object.fromEntries(quotas), ...memory, keys: count };
  }

  /** Holds for whatever comes from now on, here; at other gateways as soon as they hear of it. Errors: `too_many_keys`. */
  async set(name: string, { memory, ...numbers }: TenantChange): Promise<Tenant> {
    const memoryBytes = typeof memory === "string" ? parseSize(memory) : memory;
    const fields = Object.entries({ ...numbers, memoryBytes }).flatMap(([field, value]) =>
      value === undefined ? [] : [field, value === null ? "" : decimal(value)],
    );
    const answer = await onRedis(this.#redis, () =>
      runTransition(
        this.#redis,
        keyScripts.setTenant,
        [keys.tenant(name), keys.tenants, keys.apiKeys],
        [name, TENANT_BOUNDS.tenants, ...fields],
      ),
    );
    if (answer === "too many tenants") throw tooManyTenants();
    return this.get(name);
  }

  /** Whether the tenant's requests are counted at all. */
  async isRated(name: string): Promise<boolean> {
    return onRedis(this.#redis, async () => (await this.#redis.hexists(keys.tenant(name), "rate")) === 1);
  }
}

/** Never with an exponent, so that whoever reads it needs to know no other form. */
function decimal(value: number): string {
  return Number.isInteger(value) ? value.toFixed(0) : String(Number(value.toFixed(6)));
}
