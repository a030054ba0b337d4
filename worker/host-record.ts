// What this host tells the cluster of itself, every few seconds. A record that is no longer renewed goes by itself.

import { wallTime } from "../core/clock.ts";
import { HEARTBEAT_MS, type HostRecord } from "../core/host.ts";
import type { Log } from "../core/log.ts";
import type { Ledger } from "./admission.ts";
import type { Standing } from "./duty.ts";

export interface HostRecordOptions {
  readonly fixed: Pick<HostRecord, "id" | "bootId" | "incarnation" | "pool" | "version" | "driver" | "imagesUrl">;
  readonly ledger: Ledger;
  /** What this host is now, unless its worker leaves. Asked before each record. */
  readonly standing: () => Promise<Standing>;
  readonly publish: (record: HostRecord) => Promise<void>;
  readonly log: Log;
}

export class Heartbeat {
  readonly #options: HostRecordOptions;
  readonly #startedAt = wallTime();
  #isLeaving = false;
  /** One after the other: what was true later is told later. */
  #beating: Promise<void> = Promise.resolve();
  #waiting: Promise<void> | undefined;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HostRecordOptions) {
    this.#options = options;
  }

  /** Resolves when the first record is published. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), HEARTBEAT_MS);
    await this.#publish();
  }

  /** Told at once, not with the next beat: nobody should count on this host any more. */
  async drain(): Promise<void> {
    this.#isLeaving = true;
    await this.beat();
  }

  /** Resolves when nothing is being told any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#beating;
  }

  /** Tells how things are now, once what is being told is told. Never rejects. */
  beat(): Promise<void> {
    const { log } = this.#options;
    this.#waiting ??= this.#beating
      .then(() => {
        this.#waiting = undefined;
        return this.#publish();
      })
      .catch((error) => log.warn("host.heartbeat_failed", { error }));
    this.#beating = this.#waiting;
    return this.#beating;
  }

  async #publish(): Promise<void> {
    if (this.#isStopped) return;
    const { publish, standing } = this.#options;
    await publish(this.#record(this.#isLeaving ? { state: "draining" } : await standing()));
  }

  #record(standing: Standing): HostRecord {
    const { fixed, ledger } = this.#options;
    return {
      ...fixed,
      ...standing,
      capacity: ledger.capacity,
      free: ledger.unused,
      running: ledger.taken,
      startedAt: this.#startedAt,
      heartbeatAt: wallTime(),
    };
  }
}
