// Room that this host offers, and the runs that it is given for it: a run that finds a host with room, and nobody waiting, goes to
// it in the step that accepts it (core/offer.ts). Tickets are for runs that have to wait.
//
// A message that is lost loses no run: the run's hold passes by its lease, or is found here when the connection is back.

import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { type Heard, parseHanded, type Room } from "../core/offer.ts";
import { planRun } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { RENEW_MS } from "../core/transitions.ts";
import type { Demand, Ledger, Share } from "./admission.ts";
import type { Intake } from "./intake.ts";
import type { Attempt, Messages, RunStore } from "./run-store.ts";

/** Room that is free again is told after this, so that many runs which end at once are told of once. */
const GATHER_MS = 2;
/** A message that was sent before its sender was answered is here within milliseconds, or is lost. */
const ON_ITS_WAY_MS = 1_000;
/** Between two looks whether a message has come. */
const NEWS_MS = 50;

export interface OffersOptions {
  readonly pool: string;
  readonly hostId: string;
  readonly incarnation: string;
  readonly ledger: Ledger;
  readonly store: RunStore;
  readonly messages: Messages;
  readonly intake: Intake;
  readonly log: Log;
}

export class Offers {
  readonly #options: OffersOptions;
  readonly #stopped = Promise.withResolvers<void>();
  #heard: Heard = { series: 1, seen: 0 };
  #news = Promise.withResolvers<void>();
  /** Before this moment, on the monotonic clock, Redis gave us none of the runs that we have not heard of yet. */
  #sinceMs = monotonicMs();
  /** Room was given back that Redis has not been told of. */
  #stale = false;
  /** Since the last beat: a post was refused, a message came. */
  #refused = false;
  #timer: NodeJS.Timeout | undefined;
  #withdrawn: Promise<void> | undefined;
  #recovering: Promise<void> | undefined;

  constructor(options: OffersOptions) {
    this.#options = options;
  }

  /** Resolves when room is offered. */
  async start(): Promise<void> {
    const { messages, incarnation } = this.#options;
    await messages.onHanded(
      incarnation,
      (message) => this.#hear(message),
      () => void this.#recover(),
    );
    await this.#post();
    this.#timer = setInterval(() => void this.#beat(), RENEW_MS);
    void this.#followLedger();
  }

  /** Offers nothing more. What was given before comes still, and is taken. */
  stop(): void {
    this.#withdrawn ??= this.#withdraw();
  }

  /** After `stop`: resolves when nothing is on its way here any more. */
  async idle(): Promise<void> {
    await this.#withdrawn;
  }

  /** The room that there is now, to be told with a claim. */
  get room(): Room | undefined {
    if (this.#withdrawn || this.#recovering) return undefined;
    this.#stale = false;
    return { offer: { host: this.#options.hostId, ...this.#options.ledger.free }, heard: this.#heard };
  }

  /** Redis has the room that was asked for at this moment. */
  accepted(askedAtMs: number): void {
    this.#sinceMs = Math.max(this.#sinceMs, askedAtMs);
  }

  /** Resolves when a run has come, or soon. */
  async news(): Promise<void> {
    await Promise.race([this.#news.promise, delay(NEWS_MS)]);
  }

  #hear(message: string): void {
    try {
      const { series, seen, record } = parseHanded(message);
      if (series === this.#heard.series) this.#heard = { series, seen };
      this.#take(record, this.#sinceMs);
    } catch (error) {
      this.#options.log.error("handed.unreadable", { error }); // Its hold passes by its lease.
    }
    this.#refused = false;
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  #take(record: RunRecord, takenAtMs: number): void {
    const { intake, ledger } = this.#options;
    const letGo = intake.hold(record);
    if (!letGo) return;
    const { demand } = planRun(record.request);
    const start = (share: Share) => {
      intake.start(record, takenAtMs, () => {
        letGo();
        share();
      });
    };
    const share = ledger.take(demand);
    if (share) return start(share);
    // A ticket has the room, for a moment: its claim is refused because this run was on its way.
    void this.#roomFor(demand).then((late) => {
      if (late) return start(late);
      letGo();
      return this.#giveUp(record);
    });
  }

  async #roomFor(demand: Demand): Promise<Share | undefined> {
    const { ledger } = this.#options;
    const over = delay(ON_ITS_WAY_MS, true);
    while (!(await Promise.race([ledger.vacated().then(() => false), over]))) {
      const share = ledger.take(demand);
      if (share) return share;
    }
    return undefined;
  }

  async #giveUp(attempt: Attempt): Promise<void> {
    const { store, log } = this.#options;
    log.warn("handed.no_room", { run: attempt.id });
    await store.release(attempt, "the room that it was given for was taken").catch(() => {}); // Else its lease passes.
  }

  /** False if a run is on its way here: then Redis keeps the offer that it has. */
  async #post(): Promise<boolean> {
    const { room } = this;
    if (!room) return true;
    const askedAtMs = monotonicMs();
    const isPosted = await this.#options.store.offer(this.#options.pool, room);
    if (isPosted) this.accepted(askedAtMs);
    else this.#stale = true;
    return isPosted;
  }

  async #followLedger(): Promise<void> {
    while (!this.#withdrawn) {
      await Promise.race([this.#options.ledger.vacated(), this.#stopped.promise]);
      this.#stale = true;
      await delay(GATHER_MS);
      if (this.#stale) await this.#post().catch((error) => this.#report(error));
    }
  }

  /** Renews the offer. One that is refused twice, and no message between: the message is lost. */
  async #beat(): Promise<void> {
    const wasRefused = this.#refused;
    try {
      this.#refused = !(await this.#post());
      if (this.#refused && wasRefused) await this.#recover();
    } catch (error) {
      this.#report(error);
    }
  }

  /** Starts a new series, takes what was given in the last one and has not come, and offers room again. */
  #recover(): Promise<void> {
    this.#recovering ??= this.#findLost()
      .catch((error) => this.#report(error))
      .then(() => {
        this.#recovering = undefined;
        return this.#post();
      })
      .then(
        () => {},
        (error) => this.#report(error),
      );
    return this.#recovering;
  }

  async #findLost(): Promise<void> {
    const { store, pool, hostId, incarnation, intake } = this.#options;
    this.#refused = false;
    this.#heard = { series: this.#heard.series + 1, seen: 0 };
    await store.withdraw(pool, this.#heard.series);
    for (const attempt of await store.heldBy(hostId)) {
      if (attempt.holder !== incarnation || intake.holds(attempt)) continue;
      const askedAtMs = monotonicMs();
      // Once its hold is renewed it is known from when on it lasts.
      if ((await store.renew(attempt)) === "lost") continue;
      const record = await store.claim(attempt, hostId).catch((error) => this.#report(error));
      if (typeof record === "object") this.#take(record, askedAtMs);
      else if (!intake.holds(attempt)) await this.#giveUp(attempt);
    }
  }

  async #withdraw(): Promise<void> {
    const { store, pool } = this.#options;
    clearInterval(this.#timer);
    this.#stopped.resolve();
    const { series } = this.#heard;
    const over = delay(ON_ITS_WAY_MS, 0);
    const given = await Promise.race([store.withdraw(pool, series).catch(() => 0), over]);
    const isMissing = () => this.#heard.series === series && this.#heard.seen < given;
    const sinceMs = monotonicMs();
    while (isMissing() && monotonicMs() - sinceMs < ON_ITS_WAY_MS) await this.news();
  }

  #report(error: unknown): undefined {
    this.#options.log.warn("offer.failed", { error });
  }
}
