// What the routes ask for: submit a run and perhaps wait for it, follow one as it goes. Holds no state but who waits here.

import { Bell } from "../../core/bell.ts";
import { MayflyError } from "../../core/errors.ts";
import type { RunRecord } from "../../core/record.ts";
import { DEFAULT_POOL, type RunRequest } from "../../core/request.ts";
import type { RunStore } from "./run-store.ts";
import type { Signals } from "./signals.ts";

export interface DispatcherOptions {
  readonly store: RunStore;
  readonly signals: Signals;
  readonly gatewayId: string;
  readonly maxWaiting: number;
  /** Names that a run's `pool` may have: each has keys in Redis of its own, so callers may not make them up. */
  readonly pools: readonly string[];
}

/** How long to wait at most, and a signal that ends the wait before: the caller has gone. */
export interface Wait {
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** Where a follower is: the attempt, and how many bytes of each stream it has. */
export interface Position {
  readonly attempt: number;
  readonly stdout: number;
  readonly stderr: number;
}

export type RunEvent =
  | { readonly kind: "state"; readonly record: RunRecord }
  | { readonly kind: "stdout" | "stderr"; readonly bytes: Buffer; readonly offset: number; readonly after: Position }
  | { readonly kind: "end"; readonly record: RunRecord };

export class Dispatcher {
  readonly store: RunStore;
  readonly #options: DispatcherOptions;
  readonly #leaving = new AbortController();
  #waiting = 0;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.store = options.store;
  }

  /** Accepts a run. With `waitMs` over 0 the answer comes when it has finished, or when the wait is over. */
  async submit(request: RunRequest, tenant: string, wait: Wait): Promise<RunRecord> {
    const { store, gatewayId, pools } = this.#options;
    const pool = request.pool ?? DEFAULT_POOL;
    if (!pools.includes(pool)) throw unknownPool(pool);
    if (wait.waitMs === 0) return this.get(await store.submit({ request, tenant, waiter: undefined }), tenant);
    return this.#waitingRoom(async () => {
      const id = await store.submit({ request, tenant, waiter: gatewayId });
      await this.#untilFinished(id, tenant, wait);
      return this.get(id, tenant);
    });
  }

  /** The run, once it has finished or the wait is over. Throws `run_not_found`. */
  async await(id: string, tenant: string, wait: Wait): Promise<RunRecord> {
    const record = await this.get(id, tenant);
    if (wait.waitMs === 0 || record.state === "finished") return record;
    return this.#waitingRoom(async () => {
      await this.#untilFinished(id, tenant, wait);
      return this.get(id, tenant);
    });
  }

  async get(id: string, tenant: string): Promise<RunRecord> {
    const record = await this.store.get(id, tenant);
    if (!record) throw runNotFound(id);
    return record;
  }

  /** Ends every wait that is under way: whoever waits is answered with the run as it is. */
  leave(): void {
    this.#leaving.abort();
  }

  async #untilFinished(id: string, tenant: string, { waitMs, signal }: Wait): Promise<void> {
    const { store, signals, gatewayId } = this.#options;
    const over = AbortSignal.any([signal, this.#leaving.signal, AbortSignal.timeout(waitMs)]);
    const bell = new Bell();
    const silence = ringOnAbort(bell, over);
    const unlisten = signals.onFinished(id, () => bell.ring());
    try {
      while (!over.aborted) {
        // Listening first, then asking: a run that finishes in between is not missed. Redis may be away for a while, and
        // back before the wait is over; then everybody is woken.
        const unfinished = await store.watch(id, gatewayId).catch(() => true);
        if (!unfinished) return;
        await bell.wait();
        const record = await store.get(id, tenant).catch(() => undefined);
        if (record?.state === "finished") return;
      }
    } finally {
      unlisten();
      silence();
    }
  }

  /**
   * What happens to the run from `from` on, to its end. Ends early, without an error, if `signal` aborts.
   * Throws `too_many_waiters` at once, not when the first event is asked for; so what it returns must be iterated.
   */
  follow(id: string, tenant: string, from: Position, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const leaveRoom = this.#enterRoom();
    return this.#follow({ id, tenant, from, signal: AbortSignal.any([signal, this.#leaving.signal]), leaveRoom });
  }

  async *#follow({ id, tenant, from, signal, leaveRoom }: Following): AsyncGenerator<RunEvent> {
    const bell = new Bell();
    const silence = ringOnAbort(bell, signal);
    let unlisten = () => {};
    try {
      unlisten = await this.#options.signals.onChanged(id, () => bell.ring());
      let position = from;
      let told = "";
      while (!signal.aborted) {
        const { record, more, ...news } = await this.#snapshot(id, tenant, position);
        if (record.attempt !== position.attempt) {
          position = { attempt: record.attempt, stdout: 0, stderr: 0 };
          continue; // What was read belongs to another attempt than the offsets.
        }
        if (told !== `${record.state} ${record.attempt}`) yield { kind: "state", record };
        told = `${record.state} ${record.attempt}`;
        for (const stream of ["stdout", "stderr"] as const) {
          const [bytes, offset] = [news[stream], position[stream]];
          if (bytes.length === 0) continue;
          position = { ...position, [stream]: offset + bytes.length };
          yield { kind: stream, bytes, offset, after: position };
        }
        if (more) continue;
        if (record.state === "finished") return yield { kind: "end", record };
        await bell.wait();
      }
    } finally {
      leaveRoom();
      unlisten();
      silence();
    }
  }

  async #snapshot(id: string, tenant: string, position: Position) {
    const snapshot = await this.store.snapshot(id, tenant, position);
    if (!snapshot) throw runNotFound(id);
    return snapshot;
  }

  async #waitingRoom<T>(work: () => Promise<T>): Promise<T> {
    const leaveRoom = this.#enterRoom();
    try {
      return await work();
    } finally {
      leaveRoom();
    }
  }

  /** Returns the way out. */
  #enterRoom(): () => void {
    const limit = this.#options.maxWaiting;
    if (this.#waiting >= limit) {
      const message = `this gateway holds ${limit} waiting requests already`;
      throw new MayflyError("too_many_waiters", message, { details: { limit } });
    }
    this.#waiting++;
    return () => void this.#waiting--;
  }
}

interface Following {
  readonly id: string;
  readonly tenant: string;
  readonly from: Position;
  readonly signal: AbortSignal;
  readonly leaveRoom: () => void;
}

function unknownPool(pool: string): MayflyError {
  return new MayflyError("invalid_field", `there is no pool ${pool}`, { details: { field: "pool" } });
}

function runNotFound(id: string): MayflyError {
  return new MayflyError("run_not_found", `there is no run ${id}`, { details: { run: id } });
}

function ringOnAbort(bell: Bell, signal: AbortSignal): () => void {
  const ring = () => bell.ring();
  if (signal.aborted) ring();
  signal.addEventListener("abort", ring, { once: true });
  return () => signal.removeEventListener("abort", ring);
}
