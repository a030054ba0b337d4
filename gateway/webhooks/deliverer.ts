// Tells whoever wants to know that a run has finished. Every gateway does this, as much at once as the numbers below say; the outbox
// sees to it that they do not tell the same at the same time.

import { Bell } from "../../core/bell.ts";
import { monotonicMs } from "../../core/clock.ts";
import { isMayflyError } from "../../core/errors.ts";
import { type DeliveryOptions, deliver, factsOf } from "./delivery.ts";
import type { Claim } from "./outbox.ts";
import { PAGE } from "./outbox-scripts.ts";

/** How often to look for what is due. So much later than the run's end its receiver may hear of it. */
const POLL_MS = 250;
/** How many pages behind the first are looked at, so often: where a receiver is slow, all of the first may be for it. */
const PAGES_BEHIND = 20;
/** How many requests this gateway makes at once. */
export const MAX_UNDER_WAY = 64;
/** Of these, to one host: a receiver that is slow keeps others from nothing. */
export const MAX_A_HOST = 8;
/** Of these, for one tenant: nor does a tenant that has many such. */
export const MAX_A_TENANT = 32;
/** How long requests under way may take once the gateway is told to stop. What is cut off is told again by another gateway. */
const STOP_MS = 4_000;

export class Deliverer {
  readonly #options: DeliveryOptions;
  readonly #underWay = new Map<Claim, Promise<void>>();
  readonly #bell = new Bell();
  readonly #cut = new AbortController();
  #stopping = false;
  /** Where to look on behind the first page, and when it was last done. */
  #offset = PAGE;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #loop: Promise<void> | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Claims no more, and gives what is under way some seconds. Idempotent. */
  async close(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    const timer = setTimeout(() => this.#cut.abort(), STOP_MS);
    await this.#loop;
    await Promise.all(this.#underWay.values());
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      await this.#claim().catch((error) => this.#report(error));
      await this.#pause();
    }
  }

  /** Whenever something has ended: what is due longest. And now and then what stands behind that. */
  async #claim(): Promise<void> {
    const more = await this.#claimFrom(0);
    if (!more || monotonicMs() - this.#lookedMs < POLL_MS) return;
    this.#lookedMs = monotonicMs();
    for (let page = 0; page < PAGES_BEHIND; page++) {
      const isPassed = await this.#claimFrom(this.#offset);
      this.#offset = isPassed ? this.#offset + PAGE : PAGE;
      if (!isPassed) return;
    }
  }

  /** True if there is a page behind this one, and room for what is in it. */
  async #claimFrom(offset: number): Promise<boolean> {
    const max = MAX_UNDER_WAY - this.#underWay.size;
    if (max === 0) return false;
    const room = { offset, max, perHost: MAX_A_HOST, perTenant: MAX_A_TENANT, underWay: this.#busy() };
    const { claims, more } = await this.#options.outbox.claim(room);
    for (const claim of claims) this.#begin(claim);
    return more && claims.length < max;
  }

  #begin(claim: Claim): void {
    const delivered = deliver(claim, this.#options, this.#cut.signal)
      .catch((error) => this.#report(error, claim))
      .then(() => {
        this.#underWay.delete(claim);
        this.#bell.ring();
      });
    this.#underWay.set(claim, delivered);
  }

  /** How many are under way, by host and by tenant. */
  #busy(): Map<string, number> {
    const busy = new Map<string, number>();
    for (const { host, tenant } of this.#underWay.keys())
      for (const lane of [`host ${host}`, `tenant ${tenant}`]) busy.set(lane, (busy.get(lane) ?? 0) + 1);
    return busy;
  }

  async #pause(): Promise<void> {
    const timer = setTimeout(() => this.#bell.ring(), POLL_MS);
    await this.#bell.wait();
    clearTimeout(timer);
  }

  /** Redis away is told by whoever is asked for something; once a moment from here would only be noise. */
  #report(error: unknown, claim?: Claim): void {
    if (isMayflyError(error) && error.reason === "queue_unavailable") return;
    this.#options.log.error("webhook.broken", { ...(claim ? factsOf(claim) : {}), error });
  }
}
