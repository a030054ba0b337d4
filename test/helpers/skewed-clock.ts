// Loaded before a process's own modules (NODE_OPTIONS=--import): its wall clock is off by CLOCK_SKEW_MS. What counts evenly
// (performance.now, timers) stays as it is, as on a host whose clock is set wrong.

const skewMs = Number(process.env.CLOCK_SKEW_MS);
const Real = Date;

class SkewedDate extends Real {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(SkewedDate.now());
    else super(...(given as [number]));
  }

  static override now(): number {
    return Real.now() + skewMs;
  }
}

globalThis.Date = SkewedDate as DateConstructor;
