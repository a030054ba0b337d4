// What the routes ask for: submit a run and perhaps wait for it, follow one as it goes. Holds no state but who waits here.

import { Bell } from "../../core/bell.ts";
import { MayflyError } from "../../core/errors.ts";
import { newRunId } from "../../core/ids.ts";
import type { RunRecord } from "../../core/record.ts";
import { DEFAULT_POOL, type RunRequest } from "../../core/request.ts";
import type { Pulling } from "../../core/run.ts";
import { type TraceContext, traceFields } from "../../telemetry/trace-context.ts";
import { DeadLetters } from "./dead-letters.ts";
import { requireNear } from "./due.ts";
import type { RunStore } from "./run-store.ts";
import type { ScheduledRun } from "./schedules.ts";
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

/** And the trace that the run continues. */
export interface SubmitOptions extends Wait {
  readonly trace?: TraceContext | undefined;
}

/** A run, and once it has finished what was kept of its output. */
export interface Answer {
  readonly record: RunRecord;
  readonly kept?: { readonly stdout: Buffer; readonly stderr: Buffer } | undefined;
}

/** Where a follower is: the attempt, and how many bytes of each stream it has. */
export interface Position {
  readonly attempt: number;
  readonly stdout: number;
  readonly stderr: number;
}

export type RunEvent =
  | { readonly kind: "state"; readonly record: RunRecord }
  | { readonly kind: "progress"; readonly pulling: Pulling }
  | { readonly kind: "stdout" | "stderr"; readonly bytes: Buffer; readonly offset: number; readonly after: Position }
  | { readonly kind: "end"; readonly record: RunRecord };

export class Dispatcher {
  readonly store: RunStore;
  readonly deadLetters: DeadLetters;
  readonly #options: DispatcherOptions;
  readonly #leaving = new AbortController();
  #waiting = 0;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.store = options.store;
    this.deadLetters = new DeadLetters(options.store);
  }

  /** Accepts a run, or finds the one that was made with the same key. With `waitMs` over 0 the answer comes when it has finished, or when the wait is over. */
  async submit(request: RunRequest, tenant: string, wait: SubmitOptions, idempotencyKey?: string): Promise<Answer> {
    const { store, gatewayId } = this.#options;
    await this.admit(request, tenant);
    const id = newRunId();
    const trace = traceFields(wait.trace);
    // With a key the run may be one of before, of which it is only known afterwards whether there is anything to wait for.
    if (wait.waitMs === 0 || idempotencyKey !== undefined) {
      const made = await store.submit({ id, request, tenant, waiter: undefined, trace, idempotencyKey });
      return this.await(made, tenant, wait);
    }
    return this.#waitingRoom(id, tenant, wait, async () => {
      await store.submit({ id, request, tenant, waiter: gatewayId, trace });
      return true; // The waiter was written with the record: nothing that happens from now on is missed.
    });
  }

  /** Throws if a run would be refused for what it asks for, whatever room there is. */
  async admit({ pool = DEFAULT_POOL, secretEnv, notBefore }: RunRequest, tenant: string): Promise<void> {
    if (!this.#options.pools.includes(pool)) throw unknownPool(pool);
    if (notBefore !== undefined) requireNear(notBefore, Date.now());
    if (secretEnv) await this.store.requireSecrets(tenant, secretEnv);
  }

  /** A run of a schedule's tick. Answers its id, the same for the same idempotency key. */
  submitScheduled(run: ScheduledRun): Promise<string> {
    return this.#options.store.submit({ ...run, waiter: undefined });
  }

  /** The run, once it has finished or the wait is over. Throws `run_not_found`. */
  async await(id: string, tenant: string, wait: Wait): Promise<Answer> {
    const { store, gatewayId } = this.#options;
    const found = await this.#answer(id, tenant);
    if (wait.waitMs === 0 || found.record.state === "finished") return found;
    return this.#waitingRoom(id, tenant, wait, () => store.watch(id, gatewayId));
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

  /**
   * Listens, then has `begin` tell whether there is anything to wait for, then waits. What is listened to is best effort: whoever
   * is woken without being told the end reads the record, and after Redis has been away everybody is woken.
   */
  async #waitingRoom(
    id: string,
    tenant: string,
    { waitMs, signal }: Wait,
    begin: () => Promise<boolean>,
  ): Promise<Answer> {
    const { store, signals, gatewayId } = this.#options;
    const leaveRoom = this.#enterRoom();
    const bell = new Bell();
    const patience = new Patience(bell, waitMs, [signal, this.#leaving.signal]);
    let told: Whole | undefined;
    const unlisten = signals.onFinished(id, (whole) => {
      if (whole?.record.tenant === tenant) told = whole;
      bell.ring();
    });
    try {
      for (let unfinished = await begin(); unfinished && !patience.isOver; ) {
        await bell.wait();
        if (told) return { record: told.record, kept: told };
        const answer = patience.isOver ? undefined : await this.#whole(id, tenant).catch(() => undefined);
        if (answer?.record.state === "finished") return answer;
        // Redis has been away: it may have lost the waiter, too.
        unfinished = patience.isOver || (await store.watch(id, gatewayId).catch(() => true));
      }
      return await this.#answer(id, tenant);
    } finally {
      unlisten();
      patience.end();
      leaveRoom();
    }
  }

  /** Output is only read of a run that has finished: of any other there may be a lot, and none of it is told. */
  async #answer(id: string, tenant: string): Promise<Answer> {
    const record = await this.get(id, tenant);
    return record.state === "finished" ? this.#whole(id, tenant) : { record };
  }

  async #whole(id: string, tenant: string): Promise<Answer> {
    const whole = await this.store.whole(id, tenant);
    if (!whole) throw runNotFound(id);
    return { record: whole.record, kept: whole };
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
      let pulled = "";
      while (!signal.aborted) {
        const { record, more, ...news } = await this.#snapshot(id, tenant, position);
        if (record.attempt !== position.attempt) {
          position = { attempt: record.attempt, stdout: 0, stderr: 0 };
          continue; // What was read belongs to another attempt than the offsets.
        }
        if (told !== `${record.state} ${record.attempt}`) yield { kind: "state", record };
        told = `${record.state} ${record.attempt}`;
        const pulling = record.state === "starting" ? record.pulling : undefined;
        if (pulling && JSON.stringify(pulling) !== pulled) yield { kind: "progress", pulling };
        pulled = JSON.stringify(pulling) ?? "";
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

/** A finished run and the whole of its kept output. */
interface Whole {
  readonly record: RunRecord;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
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

/** Rings when it is over: the time has passed, or one of the signals aborts. */
class Patience {
  #isOver = false;
  readonly #timer: NodeJS.Timeout;
  readonly #signals: readonly AbortSignal[];
  readonly #ring: () => void;

  constructor(bell: Bell, ms: number, signals: readonly AbortSignal[]) {
    this.#ring = () => {
      this.#isOver = true;
      bell.ring();
    };
    this.#timer = setTimeout(this.#ring, ms);
    this.#signals = signals;
    for (const signal of signals) {
      if (signal.aborted) this.#ring();
      signal.addEventListener("abort", this.#ring);
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#ring);
  }
}

function ringOnAbort(bell: Bell, signal: AbortSignal): () => void {
  const ring = () => bell.ring();
  if (signal.aborted) ring();
  signal.addEventListener("abort", ring, { once: true });
  return () => signal.removeEventListener("abort", ring);
}
