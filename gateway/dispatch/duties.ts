// What an operator tells a host, through any gateway: to take no new runs, to be rid of those that it has, to take runs again.
//
// It is written to Redis first and said to the host then. Who asked is answered once the host tells of itself that it is so.

import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { monotonicMs, wallTime } from "../../core/clock.ts";
import { formatOrder } from "../../core/control.ts";
import type { Duty, HostRecord } from "../../core/host.ts";
import { channels, keys } from "../../core/keys.ts";
import type { Hosts } from "./hosts.ts";
import { onRedis } from "./redis.ts";

/** How long a host may take to obey before the caller is told that it has not done so yet: it obeys at its next beat at the latest. */
const OBEY_MS = 2_000;
/** Between two looks. The host needs three round trips to Redis. */
const LOOK_MS = 20;

/** What the host tells of itself now, and whether that is what it was told to be. */
export interface Obedience {
  readonly host: HostRecord;
  readonly isObeyed: boolean;
}

export class Duties {
  readonly #redis: Redis;
  readonly #hosts: Pick<Hosts, "living">;

  constructor(redis: Redis, hosts: Pick<Hosts, "living">) {
    this.#redis = redis;
    this.#hosts = hosts;
  }

  /** No run is given to the host once this is obeyed. A drain that is under way ends. Errors: `host_not_found`, `queue_unavailable`. */
  cordon(host: string): Promise<Obedience> {
    return this.#order(host, (nowMs) => ({ toldAt: wallTime(nowMs) }));
  }

  /** Runs are given to it again. Errors as of `cordon`. */
  uncordon(host: string): Promise<Obedience> {
    return this.#order(host, () => undefined);
  }

  /** Cordoned, and what still runs there in `timeoutMs` is given up. Obeyed as soon as it drains. Errors as of `cordon`. */
  drain(host: string, timeoutMs: number): Promise<Obedience> {
    return this.#order(host, (nowMs) => ({ toldAt: wallTime(nowMs), drainUntil: wallTime(nowMs + timeoutMs) }));
  }

  async #order(id: string, dutyAt: (nowMs: number) => Duty | undefined): Promise<Obedience> {
    await this.#hosts.living([id]);
    const duty = await onRedis(this.#redis, async () => {
      const [seconds, micros] = await this.#redis.time();
      const said = dutyAt(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
      const told = this.#redis.multi();
      if (said) told.set(keys.duty(id), JSON.stringify(said));
      else told.del(keys.duty(id));
      await told.publish(channels.host(id), formatOrder({ verb: "duty" })).exec();
      return said;
    });
    return this.#obedience(id, duty);
  }

  async #obedience(id: string, duty: Duty | undefined): Promise<Obedience> {
    const askedAtMs = monotonicMs();
    for (;;) {
      const [host] = await this.#hosts.living([id]);
      if (!host) throw new Error("a host that lives was not told of"); // `living` throws first.
      const isObeyed = host.duty?.toldAt === duty?.toldAt && host.duty?.drainUntil === duty?.drainUntil;
      if (isObeyed || monotonicMs() - askedAtMs > OBEY_MS) return { host, isObeyed };
      await delay(LOOK_MS);
    }
  }
}
