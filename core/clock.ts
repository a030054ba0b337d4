// Two clocks that are never mixed: the wall clock names moments to people, the monotonic clock measures and bounds.

/** Milliseconds since an arbitrary start, never going back; fractions down to a microsecond. */
export function monotonicMs(): number {
  return performance.now();
}

/** RFC 3339 in UTC, with milliseconds. */
export function wallTime(epochMs: number = Date.now()): string {
  return new Date(epochMs).toISOString();
}

/** Times named phases of one unit of work. `mark("pull")` books the time since the mark before it; a name may recur and adds up. */
export class Stopwatch {
  readonly phases: Record<string, number> = {};
  #last = monotonicMs();

  mark(phase: string): void {
    const now = monotonicMs();
    this.phases[phase] = round((this.phases[phase] ?? 0) + now - this.#last);
    this.#last = now;
  }
}

/** To a microsecond: more digits than that are noise. */
function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
