// Room that this host offers, and the runs that it is given for it: a run that finds a host with room, and nobody waiting, goes to
// it in the step that accepts it (core/offer.ts). Tickets are for runs that have to wait.
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
import type { Demand, Ledger, Share } from "./admission.ts";
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

  /** The room that there is now, to be told with a claim. */
  get room(): Room | undefined {
    if (this.#withdrawn || this.#recovering) return undefined;
    this.#offered = this.#options.ledger.free;
    this.#heardSince = 0;
    return { offer: { host: this.#options.hostId, ...this.#offered }, heard: this.#heard };
  }

  /** Resolves when a run has come, or soon. */
  async news(): Promise<void> {
    await Promise.race([this.#news.promise, delay(NEWS_MS)]);
  }

  #hear(message: string): void {
    try {
      const { series, seen, record } = parseHanded(message);
      // One of an earlier series comes late: it was looked for, and may be over by now.
      if (series !== this.#heard.series) return;
      this.#heard = { series, seen };
      this.#heardSince++;
      this.#take(record, this.#givenSinceMs(seen));
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

  async #post(): Promise<void> {
    const { room } = this;
    if (!room) return;
    const askedAtMs = monotonicMs();
    const given = await this.#options.store.offer(this.#options.pool, room);
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

  /** While half of what is free is offered, and Redis does not take many to be on their way, the rest can wait. */
  get #isWorthTelling(): boolean {
    const { free } = this.#options.ledger;
    if (this.#heardSince >= HEARD_UNTOLD) return true;
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
      const record = await store.claim(attempt, hostId).catch((error) => this.#report(error));
      if (typeof record === "object") this.#take(record, askedAtMs);
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
    while (isMissing() && monotonicMs() - sinceMs < ON_ITS_WAY_MS) await this.news();
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
