// Two clocks that are never mixed: the wall clock names moments to people, the monotonic clock measures and bounds.

/** Milliseconds since an arbitrary start, never going back; fractions down to a microsecond. */
export function monotonicMs(): number {
  return performance.now();
}

/** RFC 3339 in UTC, with milliseconds. */
export function wallTime(epochMs: number = Date.now()): string {
  return new Date(epochMs).toISOString();
}

/**
 * Times named phases of one unit of work, one after the other. `enter("pull")` books what follows to `pull`, until the next
 * phase is entered or the watch is stopped; so a phase that fails is booked as well. A name may recur, and adds up.
 */
export class Stopwatch {
  readonly phases: Record<string, number> = {};
  #phase: string | undefined;
  #sinceMs = monotonicMs();

  enter(phase: string | undefined): void {
    const now = monotonicMs();
    if (this.#phase) this.phases[this.#phase] = roundMs((this.phases[this.#phase] ?? 0) + now - this.#sinceMs);
    this.#phase = phase;
    this.#sinceMs = now;
  }

  stop(): void {
    this.enter(undefined);
  }
}

/** To a microsecond: more digits than that are noise. */
export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
