// What a host has room for. One ledger of what was given and what is taken: CPU time, memory, processes, slots.
//
// One idea: a run's share is taken before its first byte is pulled, and given back only when its sandbox is gone.

import type { Capacity } from "../core/host.ts";

export interface Demand {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly pids: number;
}

/** Given back once; giving back again does nothing. */
export type Share = () => void;

export class Ledger {
  readonly capacity: Capacity;
  #free: Capacity;
  #taken = 0;
  #vacated = Promise.withResolvers<void>();

  constructor(capacity: Capacity) {
    this.capacity = capacity;
    this.#free = capacity;
  }

  get free(): Capacity {
    return this.#free;
  }

  /** Runs that hold a share now. */
  get taken(): number {
    return this.#taken;
  }

  hasRoomFor(demand: Demand): boolean {
    return fits(demand, this.#free);
  }

  /** Whether there would be room were nothing else here. */
  couldEverHold(demand: Demand): boolean {
    return fits(demand, this.capacity);
  }

  /** Undefined if there is no room; nothing is taken then. */
  take(demand: Demand): Share | undefined {
    if (!this.hasRoomFor(demand)) return undefined;
    this.#add(demand, -1);
    this.#taken++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#add(demand, 1);
      this.#taken--;
      this.#vacated.resolve();
      this.#vacated = Promise.withResolvers();
    };
  }

  /** Resolves the next time that a share is given back. */
  vacated(): Promise<void> {
    return this.#vacated.promise;
  }

  #add(demand: Demand, sign: 1 | -1): void {
    this.#free = {
      cpus: this.#free.cpus + sign * demand.cpus,
      memoryBytes: this.#free.memoryBytes + sign * demand.memoryBytes,
      pids: this.#free.pids + sign * demand.pids,
      slots: this.#free.slots + sign,
    };
  }
}

/** CPU shares are fractions; a sum of them may miss the whole by a rounding error. */
const EPSILON = 1e-9;

function fits(demand: Demand, room: Capacity): boolean {
  return (
    room.slots >= 1 &&
    demand.cpus <= room.cpus + EPSILON &&
    demand.memoryBytes <= room.memoryBytes &&
    demand.pids <= room.pids
  );
}
