// Room that this host offers, and the runs that it is given for it: in the step in which a run is accepted, or in which the room is
// told (core/offer.ts). There is no other way to a run.
//
// A message that is lost loses no run: the run's hold passes by its lease, or is found here when the connection is back.

import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../core/clock.ts";
import type { Capacity } from "../core/host.ts";
import type { Log } from "../core/log.ts";
import { type Heard, parseHanded, type Room } from "../core/offer.ts";
import { planRun } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { RENEW_MS } from "../core/transitions.ts";
import type { Demand, Ledger } from "./admission.ts";
import type { Intake } from "./intake.ts";
import type { Attempt, Messages, RunStore } from "./run-store.ts";

/** Room that is free again is told after this, so that many runs which end at once are told of once. */
const GATHER_MS = 2;
/** Of so many runs it is told that they were heard of: an offer lists those that were not, and is read with every run. */
const HEARD_UNTOLD = 8;
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

/** At this moment, on the monotonic clock, or later, no more than so many runs had been given. */
interface Mark {
  readonly askedAtMs: number;
  readonly given: number;
}

export class Offers {
  readonly #options: OffersOptions;
  #heard: Heard = { series: 1, seen: 0 };
  #news = Promise.withResolvers<void>();
  /** Oldest first, never empty. */
  #marks: Mark[] = [{ askedAtMs: monotonicMs(), given: 0 }];
  /** What Redis has of our room, as far as is known here, and how many runs were heard of since it was told. */
  #heardSince = 0;
  #offered: Capacity = { cpus: 0, memoryBytes: 0, pids: 0, slots: 0 };
  /** As far as is known here. While it is so, every share that is given back is told at once. */
  #someoneWaits = false;
  /** What was heard of at the last beat, if it was less than was given. */
  #behind: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #withdrawn: Promise<void> | undefined;
  #recovering: Promise<void> | undefined;

  constructor(options: OffersOptions) {
    this.#options = options;
  }

  /** Resolves when room is offered. */
  async start(): Promise<void> {
    const { messages, incarnation, pool } = this.#options;
    await messages.onWaiting(pool, () => void this.#hearOfWaiting());
    await messages.onHanded(
      incarnation,
      (message) => this.#hear(message),
      () => void this.#recover(),
    );
    await this.#post();
    this.#timer = setInterval(() => void this.#beat(), RENEW_MS);
    void this.#followLedger();
  }

  /** Tells the room that there is now. Once it resolves, no run is given for more. */
  tell(): Promise<void> {
    return this.#post();
  }

  /** Offers nothing more. What was given before comes still, and is taken. */
  stop(): void {
    this.#withdrawn ??= this.#withdraw();
  }

  /** After `stop`: resolves when nothing is on its way here any more. */
  async idle(): Promise<void> {
    await this.#withdrawn;
  }

  /** The room that there is now. */
  get #room(): Room | undefined {
    if (this.#withdrawn || this.#recovering) return undefined;
    const { hostId, ledger } = this.#options;
    this.#offered = ledger.free;
    this.#heardSince = 0;
    return { offer: { host: hostId, ...ledger.free, capacity: ledger.capacity }, heard: this.#heard };
  }

  /** Resolves when a run has come, or soon. */
  async #nextNews(): Promise<void> {
    await Promise.race([this.#news.promise, delay(NEWS_MS)]);
  }

  #hear(message: string): void {
    try {
      const { series, seen, run } = parseHanded(message);
      // One of an earlier series comes late: it was looked for, and may be over by now.
      if (series !== this.#heard.series) return;
      this.#heard = { series, seen };
      this.#heardSince++;
      const sinceMs = this.#givenSinceMs(seen);
      if ("request" in run) this.#take(run, sinceMs);
      else void this.#recall(run, sinceMs);
    } catch (error) {
      this.#options.log.error("handed.unreadable", { error }); // Its hold passes by its lease.
    }
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** A moment before the one at which this run was given: that of the last question by which it had not been. */
  #givenSinceMs(number: number): number {
    while (this.#marks[1] && this.#marks[1].given < number) this.#marks.shift();
    return (this.#marks[0] as Mark).askedAtMs;
  }

  #take(record: RunRecord, takenAtMs: number): void {
    const { intake, ledger } = this.#options;
    const letGo = intake.hold(record);
    if (!letGo) return;
    const { demand } = planRun(record.request);
    this.#offered = less(this.#offered, demand);
    const share = ledger.take(demand);
    if (!share) {
      letGo();
      return void this.#giveUp(record);
    }
    intake.start(record, takenAtMs, () => {
      letGo();
      share();
    });
  }

  /** Of a run whose request is too long to be said. */
  async #recall(attempt: Attempt, takenAtMs: number): Promise<void> {
    const record = await this.#options.store.recall(attempt).catch((error) => this.#report(error));
    if (record) this.#take(record, takenAtMs);
  }

  async #giveUp(attempt: Attempt): Promise<void> {
    const { store, log } = this.#options;
    log.warn("handed.no_room", { run: attempt.id });
    await store.release(attempt, "the room that it was given for was taken").catch(() => {}); // Else its lease passes.
  }

  async #post(): Promise<void> {
    const room = this.#room;
    if (!room) return;
    const askedAtMs = monotonicMs();
    const { given, waiting } = await this.#options.store.offer(this.#options.pool, room);
    this.#someoneWaits = waiting > 0;
    if (room.heard.series !== this.#heard.series) return;
    if (this.#marks.at(-1)?.given === given) this.#marks.pop(); // The later question says more.
    this.#marks.push({ askedAtMs, given });
  }

  async #followLedger(): Promise<void> {
    while (!this.#withdrawn) {
      await this.#options.ledger.vacated();
      await delay(GATHER_MS);
      if (this.#isWorthTelling) await this.#post().catch((error) => this.#report(error));
    }
  }

  /** Room that was told may not be all that there is. */
  async #hearOfWaiting(): Promise<void> {
    this.#someoneWaits = true;
    if (this.#options.ledger.free.slots > 0) await this.#post().catch((error) => this.#report(error));
  }

  /** While nobody waits, half of what is free is offered, and Redis does not take many to be on their way, the rest can wait. */
  get #isWorthTelling(): boolean {
    const { free } = this.#options.ledger;
    if (this.#someoneWaits || this.#heardSince >= HEARD_UNTOLD) return true;
    return (["cpus", "memoryBytes", "pids", "slots"] as const).some((of) => this.#offered[of] < free[of] / 2);
  }

  /** Renews the offer. More was given than is heard of, twice and no message between: one is lost. */
  async #beat(): Promise<void> {
    try {
      await this.#post();
      const { seen } = this.#heard;
      const isBehind = (this.#marks.at(-1)?.given ?? 0) > seen;
      if (isBehind && this.#behind === seen) await this.#recover();
      else this.#behind = isBehind ? seen : undefined;
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
    this.#behind = undefined;
    this.#marks = [{ askedAtMs: monotonicMs(), given: 0 }];
    this.#heard = { series: this.#heard.series + 1, seen: 0 };
    await store.withdraw(pool, this.#heard.series);
    for (const attempt of await store.heldBy(hostId)) {
      if (attempt.holder !== incarnation || intake.holds(attempt)) continue;
      const askedAtMs = monotonicMs();
      // Once its hold is renewed it is known from when on it lasts.
      if ((await store.renew(attempt)) === "lost") continue;
      const record = await store.recall(attempt).catch((error) => this.#report(error));
      if (record) this.#take(record, askedAtMs);
      else if (!intake.holds(attempt)) await this.#giveUp(attempt);
    }
  }

  async #withdraw(): Promise<void> {
    const { store, pool } = this.#options;
    clearInterval(this.#timer);
    const { series } = this.#heard;
    const over = delay(ON_ITS_WAY_MS, 0);
    const given = await Promise.race([store.withdraw(pool, series).catch(() => 0), over]);
    const isMissing = () => this.#heard.series === series && this.#heard.seen < given;
    const sinceMs = monotonicMs();
    while (isMissing() && monotonicMs() - sinceMs < ON_ITS_WAY_MS) await this.#nextNews();
  }

  #report(error: unknown): undefined {
    this.#options.log.warn("offer.failed", { error });
  }
}

function less(room: Capacity, { cpus, memoryBytes, pids }: Demand): Capacity {
  return {
    cpus: room.cpus - cpus,
    memoryBytes: room.memoryBytes - memoryBytes,
    pids: room.pids - pids,
    slots: room.slots - 1,
  };
}
