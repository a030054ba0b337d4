// Counters, histograms and gauges of this process: plain numbers, always counted. Two readers have them: /metrics (prometheus.ts) and,
// if it is asked for, OTLP (otel/metrics.ts).
//
// Labels are names of closed sets (an outcome, a phase, a route): never an id, an image or a tenant.

import { setTimeout as delay } from "node:timers/promises";

export type Labels = Readonly<Record<string, string>>;

export interface Sample<V = number> {
  readonly labels: Labels;
  readonly value: V;
}

export interface Distribution {
  /** How many were at most `bounds[i]` and more than the bound before; the last is of those over all bounds. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

interface Named {
  readonly name: string;
  readonly help: string;
}

/** A metric as it is now. */
export type Family =
  | (Named & { readonly kind: "counter" | "gauge"; readonly samples: readonly Sample[] })
  | (Named & {
      readonly kind: "histogram";
      readonly bounds: readonly number[];
      readonly samples: readonly Sample<Distribution>[];
    });

export interface Counter {
  add(labels: Labels, amount?: number): void;
}

export interface Histogram {
  observe(labels: Labels, value: number): void;
}

/** Seconds: from half a millisecond, which a phase of a start takes, to the half hour that a run may. */
export const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
] as const;

/** Label values are of closed sets; should one not be, what comes after so many is counted as this. */
const MAX_SERIES = 500;
const OTHER = "other";
/** A gauge that has to be asked for somewhere is left out if it is not here by then. */
const GAUGE_MS = 2_000;

export class Metrics {
  /** When counting began; milliseconds since the epoch. */
  readonly sinceMs = Date.now();
  readonly #read = new Map<string, () => Family | undefined | Promise<Family | undefined>>();

  /** It only grows, from 0 at the start of the process. */
  counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    const series = new Series<{ value: number }>(labelNames, () => ({ value: 0 }));
    this.#add(name, () => ({ name, help, kind: "counter", samples: series.samples(({ value }) => value) }));
    return {
      add(labels, amount = 1) {
        series.of(labels).value += amount;
      },
    };
  }

  histogram(name: string, help: string, labelNames: readonly string[], bounds: readonly number[] = SECONDS): Histogram {
    const series = new Series(labelNames, () => ({ counts: bounds.map(() => 0).concat(0), sum: 0, count: 0 }));
    const samples = () => series.samples(({ counts, sum, count }) => ({ counts: [...counts], sum, count }));
    this.#add(name, () => ({ name, help, kind: "histogram", bounds, samples: samples() }));
    return {
      observe(labels, value) {
        const of = series.of(labels);
        const at = bounds.findIndex((bound) => value <= bound);
        const bucket = at === -1 ? bounds.length : at;
        of.counts[bucket] = (of.counts[bucket] ?? 0) + 1;
        of.sum += value;
        of.count++;
      },
    };
  }

  /** Read when somebody asks; one that cannot be read is left out. */
  gauge(name: string, help: string, read: () => readonly Sample[] | Promise<readonly Sample[]>): void {
    this.#add(name, async () => {
      const patience = new AbortController();
      const over = delay(GAUGE_MS, undefined, { signal: patience.signal, ref: false }).catch(() => undefined);
      const samples = await Promise.race([Promise.resolve().then(read), over]).catch(() => undefined);
      patience.abort();
      return samples && { name, help, kind: "gauge", samples };
    });
  }

  /** All of them, in the order in which they were made. */
  async families(): Promise<Family[]> {
    const families = await Promise.all([...this.#read.values()].map((read) => read()));
    return families.filter((family) => family !== undefined);
  }

  #add(name: string, read: () => Family | undefined | Promise<Family | undefined>): void {
    if (this.#read.has(name)) throw new Error(`there are two metrics ${name}`);
    this.#read.set(name, read);
  }
}

/** What is counted under each combination of labels. */
class Series<V> {
  readonly #names: readonly string[];
  readonly #make: () => V;
  readonly #of = new Map<string, { readonly labels: Labels; readonly value: V }>();

  constructor(names: readonly string[], make: () => V) {
    this.#names = names;
    this.#make = make;
    if (names.length === 0) this.of({}); // Without labels it is there from the beginning, as 0.
  }

  of(labels: Labels): V {
    const key = this.#names.map((name) => labels[name] ?? "").join("\0");
    const known = this.#of.get(key);
    if (known) return known.value;
    if (this.#of.size >= MAX_SERIES && !this.#isOther(labels))
      return this.of(Object.fromEntries(this.#names.map((name) => [name, OTHER])));
    const value = this.#make();
    this.#of.set(key, { labels: Object.fromEntries(this.#names.map((name) => [name, labels[name] ?? ""])), value });
    return value;
  }

  samples<T>(of: (value: V) => T): Sample<T>[] {
    return [...this.#of.values()].map(({ labels, value }) => ({ labels, value: of(value) }));
  }

  #isOther(labels: Labels): boolean {
    return this.#names.every((name) => labels[name] === OTHER);
  }
}
