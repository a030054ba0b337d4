// What this host tells the cluster of itself, every few seconds. A record that is no longer renewed goes by itself.

import { wallTime } from "../core/clock.ts";
import { HEARTBEAT_MS, type HostRecord } from "../core/host.ts";
import type { Log } from "../core/log.ts";
import type { Ledger } from "./admission.ts";

export interface HostRecordOptions {
  readonly fixed: Pick<HostRecord, "id" | "bootId" | "incarnation" | "pool" | "version" | "driver" | "imagesUrl">;
  readonly ledger: Ledger;
  readonly publish: (record: HostRecord) => Promise<void>;
  readonly log: Log;
}

export class Heartbeat {
  readonly #options: HostRecordOptions;
  readonly #startedAt = wallTime();
  #state: HostRecord["state"] = "ready";
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HostRecordOptions) {
    this.#options = options;
  }

  /** Resolves when the first record is published. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#beat(), HEARTBEAT_MS);
    await this.#options.publish(this.#record());
  }

  /** Told at once, not with the next beat: nobody should count on this host any more. */
  async drain(): Promise<void> {
    this.#state = "draining";
    await this.#beat();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    const { publish, log } = this.#options;
    await publish(this.#record()).catch((error) => log.warn("host.heartbeat_failed", { error }));
  }

  #record(): HostRecord {
    const { fixed, ledger } = this.#options;
    return {
      ...fixed,
      state: this.#state,
      capacity: ledger.capacity,
      free: ledger.free,
      running: ledger.taken,
      startedAt: this.#startedAt,
      heartbeatAt: wallTime(),
    };
  }
}
