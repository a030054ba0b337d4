// What an operator has told this host: to take no new runs, and perhaps to be rid, by some time, of those that it has.
//
// One idea: it stands in Redis (core/host.ts), and whoever changes it only says that it has changed. It is read at each beat, so that
// an order that was lost is late and no more, and before the first offer, so that a host that is started again is what it was.

import type { Redis } from "ioredis";
import { Duty as DutyRecord, type HostState } from "../core/host.ts";
import { keys } from "../core/keys.ts";
import type { Log } from "../core/log.ts";
import type { Ledger } from "./admission.ts";
import type { Offers } from "./offers.ts";
import type { RunStore } from "./run-store.ts";

export interface DutyOptions {
  readonly redis: Redis;
  readonly hostId: string;
  readonly ledger: Ledger;
  readonly offers: Pick<Offers, "tell">;
  readonly store: Pick<RunStore, "heldBy">;
  /** Gives up all that runs here, as at the end of the drain that SIGTERM begins. */
  readonly abandonAll: () => void;
  readonly log: Log;
}

/** What this host is, for its record. */
export interface Standing {
  readonly state: HostState;
  readonly duty?: DutyRecord;
}

/** Whatever it was, it was meant to keep runs away. */
const UNREADABLE: DutyRecord = { toldAt: "1970-01-01T00:00:00.000Z" };

interface Told {
  readonly duty: DutyRecord | undefined;
  /** Until what still runs is given up; negative once it is overdue, undefined if nobody asked for that. */
  readonly leftMs: number | undefined;
}

export class Duty {
  readonly #options: DutyOptions;
  #timer: NodeJS.Timeout | undefined;
  #watching = false;
  #lookAgain: () => void = () => {};

  constructor(options: DutyOptions) {
    this.#options = options;
  }

  /** `lookAgain` is called when it is worth looking before the next beat: the last run has ended, or the time is over. */
  onChange(lookAgain: () => void): void {
    this.#lookAgain = lookAgain;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /**
   * Does what stands in Redis, and answers what that makes of this host: once it is `cordoned` or `draining`, no run is given to it
   * any more, and one that was draining is `cordoned` once no run is its own. Safe to repeat. Errors are Redis' own.
   */
  async look(): Promise<Standing> {
    const { ledger, offers, log, abandonAll } = this.#options;
    const { duty, leftMs } = await this.#read();
    clearTimeout(this.#timer);
    if (ledger.isOpen !== (duty === undefined)) log.info("host.duty", { ...duty, leftMs });
    ledger.setOpen(duty === undefined);
    if (duty === undefined) return { state: "ready" };
    await offers.tell();
    if (leftMs === undefined || (await this.#isEmpty())) return { state: "cordoned", duty };
    if (leftMs <= 0) abandonAll();
    else this.#timer = setTimeout(this.#lookAgain, leftMs);
    this.#watch();
    return { state: "draining", duty };
  }

  async #read(): Promise<Told> {
    const { redis, hostId } = this.#options;
    const [[seconds, micros], text] = await Promise.all([redis.time(), redis.get(keys.duty(hostId))]);
    const duty = text === null ? undefined : (DutyRecord.safeParse(parseJson(text)).data ?? UNREADABLE);
    const nowMs = Number(seconds) * 1000 + Number(micros) / 1000;
    return { duty, leftMs: duty?.drainUntil === undefined ? undefined : Date.parse(duty.drainUntil) - nowMs };
  }

  /** Also of runs that are on their way here: the record has them before the host hears of them. */
  async #isEmpty(): Promise<boolean> {
    const { store, hostId, ledger } = this.#options;
    return ledger.taken === 0 && (await store.heldBy(hostId)).length === 0;
  }

  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    void this.#options.ledger.vacated().then(() => {
      this.#watching = false;
      this.#lookAgain();
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
