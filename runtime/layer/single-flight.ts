// One piece of work for all who want its result at the same time.

type Listener<E> = (event: E) => void;

interface Flight<T, E> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  readonly listeners: Set<Listener<E>>;
  passengers: number;
}

type Work<T, E> = (signal: AbortSignal, tell: Listener<E>) => Promise<T>;

export interface Boarding<T> {
  /** True for the one whose work is being done; the others only share it. */
  readonly led: boolean;
  readonly result: Promise<T>;
}

/**
 * Joins callers of the same key while the work is under way; nothing is remembered after it has settled.
 * A caller whose signal aborts is rejected with the signal's reason, and the work goes on for the others. When the last one
 * leaves, the work's own signal aborts, and that caller is rejected only when the work has settled: it has cleaned up by then.
 * What the work tells of its progress is told to each caller that listens, from when it has joined.
 */
export class SingleFlight<T, E = never> {
  readonly #flights = new Map<string, Flight<T, E>>();

  join(key: string, signal: AbortSignal, work: Work<T, E>, listener?: Listener<E>): Boarding<T> {
    const existing = this.#flights.get(key);
    const flight = existing ?? this.#start(key, work);
    if (listener) flight.listeners.add(listener);
    return { led: existing === undefined, result: this.#board(key, flight, signal, listener) };
  }

  #start(key: string, work: Work<T, E>): Flight<T, E> {
    const controller = new AbortController();
    const listeners = new Set<Listener<E>>();
    const tell = (event: E) => {
      for (const listener of listeners) listener(event);
    };
    const flight = { controller, listeners, passengers: 0, result: work(controller.signal, tell) };
    this.#flights.set(key, flight);
    const land = () => this.#forget(key, flight);
    flight.result.then(land, land);
    return flight;
  }

  #board(key: string, flight: Flight<T, E>, signal: AbortSignal, listener?: Listener<E>): Promise<T> {
    flight.passengers++;
    return new Promise((resolve, reject) => {
      const leave = () => {
        if (listener) flight.listeners.delete(listener);
        if (--flight.passengers > 0) return reject(signal.reason);
        this.#forget(key, flight);
        flight.controller.abort(signal.reason);
      };
      const arrive = (settle: () => void) => {
        signal.removeEventListener("abort", leave);
        if (signal.aborted) reject(signal.reason);
        else settle();
      };
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
      flight.result.then(
        (value) => arrive(() => resolve(value)),
        (error: unknown) => arrive(() => reject(error)),
      );
    });
  }

  /** A later caller starts anew, even while an abandoned flight of the same key still cleans up. */
  #forget(key: string, flight: Flight<T, E>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
