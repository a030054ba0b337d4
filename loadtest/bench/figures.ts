// From samples to figures. Nothing is thrown out and nothing is averaged: a percentile is always one of the samples.

export interface Figures {
  readonly n: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The nearest rank: the smallest sample that at least `percent` of all samples do not exceed. Throws without samples. */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  const value = sorted[rank - 1];
  if (value === undefined) throw new Error("there are no samples");
  return value;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 50);
}

export function summarize(samples: readonly number[]): Figures {
  const at = (percent: number) => rounded(percentile(samples, percent));
  return { n: samples.length, min: at(0), p50: at(50), p90: at(90), p99: at(99), max: at(100) };
}

/** How one ratio spreads over the rounds of a run: a drift that hits both sides alike is not in it. */
export interface Spread {
  readonly rounds: number;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface Ratio {
  /** `a/b`: a's median divided by b's. */
  readonly name: string;
  readonly value: number;
  readonly spread?: Spread;
}

/** Undefined if a side has no samples. Each side is a list of rounds, and the spread is of the rounds that both have. */
export function ratioOf(
  name: string,
  over: readonly (readonly number[])[],
  under: readonly (readonly number[])[],
): Ratio | undefined {
  if (over.flat().length === 0 || under.flat().length === 0) return undefined;
  const value = rounded(median(over.flat()) / median(under.flat()));
  const pairs = over.flatMap((round, i) => {
    const other = under[i];
    return round.length > 0 && other !== undefined && other.length > 0 ? [median(round) / median(other)] : [];
  });
  return pairs.length < 2 ? { name, value } : { name, value, spread: spreadOf(pairs) };
}

function spreadOf(values: readonly number[]): Spread {
  const [min, middle, max] = [0, 50, 100].map((percent) => rounded(percentile(values, percent)));
  return { rounds: values.length, min: min ?? 0, median: middle ?? 0, max: max ?? 0 };
}

/** Four significant digits at least, and of milliseconds the microseconds: more is noise. */
export function rounded(value: number): number {
  return Math.abs(value) >= 1 ? Math.round(value * 1000) / 1000 : Number(value.toPrecision(4));
}
