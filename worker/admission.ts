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
  #open = true;
  #vacated = Promise.withResolvers<void>();

  constructor(capacity: Capacity) {
    this.capacity = capacity;
    this.#free = capacity;
  }

  /** What may be promised: nothing while it is closed. */
  get free(): Capacity {
    return this.#open ? this.#free : NOTHING;
  }

  /** What nothing has taken. */
  get unused(): Capacity {
    return this.#free;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Closed, it promises nothing; a share may still be taken, for what was promised before. Who waits for room is woken. */
  setOpen(open: boolean): void {
    if (this.#open === open) return;
    this.#open = open;
    this.#wake();
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
      this.#wake();
    };
  }

  /** Resolves the next time that a share is given back, or that it opens or closes. */
  vacated(): Promise<void> {
    return this.#vacated.promise;
  }

  #wake(): void {
    this.#vacated.resolve();
    this.#vacated = Promise.withResolvers();
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

const NOTHING: Capacity = { cpus: 0, memoryBytes: 0, pids: 0, slots: 0 };

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
