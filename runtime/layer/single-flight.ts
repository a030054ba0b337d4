// One piece of work for all who want its result at the same time.

interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  passengers: number;
}

export interface Boarding<T> {
  /** True for the one whose work is being done; the others only share it. */
  readonly led: boolean;
  readonly result: Promise<T>;
}

/**
 * Joins callers of the same key while the work is under way; nothing is remembered after it has settled.
 * A caller whose signal aborts is rejected with the signal's reason, and the work goes on for the others. When the last one
 * leaves, the work's own signal aborts, and that caller is rejected only when the work has settled: it has cleaned up by then.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Boarding<T> {
    const existing = this.#flights.get(key);
    const flight = existing ?? this.#start(key, work);
    return { led: existing === undefined, result: this.#board(key, flight, signal) };
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = { controller, passengers: 0, result: work(controller.signal) };
    this.#flights.set(key, flight);
    const land = () => this.#forget(key, flight);
    flight.result.then(land, land);
    return flight;
  }

  #board(key: string, flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.passengers++;
    return new Promise((resolve, reject) => {
      const leave = () => {
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
  #forget(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
