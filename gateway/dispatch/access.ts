// Who may do what, as Redis has it: keys and tenants, kept at hand for a moment each, and forgotten when another gateway says that they
// have changed. An announcement may be lost; then MAX_AGE_MS is the bound.

import type { Redis } from "ioredis";
import { monotonicMs } from "../../core/clock.ts";
import { channels } from "../../core/keys.ts";
import type { Caller } from "../api-keys.ts";
import { hashKey, idOfKey, isSameHash } from "../key-material.ts";
import { Fresh } from "./fresh.ts";
import { KeyStore, type KnownKey, USED_MS } from "./key-store.ts";
import { RateLimits } from "./rate-limits.ts";
import { TenantStore } from "./tenant-store.ts";

/** Keys whose use was told to Redis not long ago; the one that was told first is forgotten first, and told again. */
const MAX_TOLD = 10_000;

export class Access {
  readonly keys: KeyStore;
  readonly tenants: TenantStore;
  readonly limits: RateLimits;
  readonly #known: Fresh<KnownKey>;
  readonly #toldAtMs = new Map<string, number>();

  constructor(redis: Redis) {
    this.keys = new KeyStore(redis);
    this.tenants = new TenantStore(redis);
    this.limits = new RateLimits(redis, this.tenants);
    this.#known = new Fresh((id) => this.keys.known(id));
  }

  /** Listens for what changes elsewhere. Rejects if Redis does. */
  async start(subscriber: Redis): Promise<void> {
    subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) => {
      if (channel.toString() === channels.access) this.#hear(message.toString());
    });
    // What was announced while nobody listened is not known.
    subscriber.on("ready", () => this.#forgetAll());
    await subscriber.subscribe(channels.access);
  }

  /**
   * Who has a key that is in Redis. One that was revoked, is over, was rotated out or never was is answered alike, and a guess of the
   * right id takes no look more than another. Errors: `queue_unavailable`.
   */
  async findCaller(key: string): Promise<Caller | undefined> {
    const id = idOfKey(key);
    const known = id === undefined ? undefined : await this.#known.get(id);
    if (id === undefined || !known) return undefined;
    const hash = hashKey(key);
    const now = monotonicMs();
    if (!known.good.some((good) => isSameHash(good.hash, hash) && now < good.untilMs)) return undefined;
    this.#tellUsed(id, now);
    return known.caller;
  }

  #hear(message: string): void {
    const [what, name = ""] = message.split(" ");
    if (what === "key") this.#known.forget(name);
    if (what === "tenant") this.limits.forget(name);
  }

  #forgetAll(): void {
    this.#known.forgetAll();
    this.limits.forgetAll();
  }

  #tellUsed(id: string, now: number): void {
    const toldAtMs = this.#toldAtMs.get(id);
    if (toldAtMs !== undefined && now - toldAtMs < USED_MS) return;
    this.#toldAtMs.delete(id);
    const [oldest] = this.#toldAtMs.keys();
    if (this.#toldAtMs.size >= MAX_TOLD && oldest !== undefined) this.#toldAtMs.delete(oldest);
    this.#toldAtMs.set(id, now);
    this.keys.used(id).catch(() => this.#toldAtMs.delete(id)); // The next request tells it.
  }
}
