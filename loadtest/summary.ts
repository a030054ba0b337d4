// What k6 has counted, as a report: its thresholds, the answers by their status, and a table of where the time went.

import { PHASES } from "./k6/judge.js";

/** The part of the file that `k6 run --summary-export` writes which is read here. A threshold is true there if it was crossed. */
export interface Exported {
  readonly metrics: Readonly<Record<string, Metric>>;
}

type Metric = { readonly thresholds?: Readonly<Record<string, boolean>> } & Readonly<Record<string, unknown>>;

export interface Times {
  readonly count: number;
  readonly med: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface Report {
  /** Such as `as_expected: rate==1`. */
  readonly crossed: readonly string[];
  readonly held: readonly string[];
  readonly answers: Readonly<Record<string, number>>;
  readonly asked: number;
  readonly finished: number;
  /** Milliseconds of each phase, of the whole call as the caller sees it, and of a refusal, where there are any. */
  readonly times: Readonly<Record<string, Times>>;
}

const ANSWERS = ["200", "202", "429", "other"];

export function reportOf({ metrics }: Exported): Report {
  const thresholds = Object.entries(metrics).flatMap(([name, { thresholds = {} }]) =>
    Object.entries(thresholds).map(([expression, isCrossed]) => ({ text: `${name}: ${expression}`, isCrossed })),
  );
  const asked = countOf(metrics, "asked");
  const judged = countOf(metrics, "as_expected", "passes") + countOf(metrics, "as_expected", "fails");
  // What k6 gave up at its end is in none of its thresholds.
  const unanswered = { text: `every request is answered, all ${asked}`, isCrossed: judged !== asked };
  const all = [...thresholds, unanswered];
  return {
    crossed: all.filter(({ isCrossed }) => isCrossed).map(({ text }) => text),
    held: all.filter(({ isCrossed }) => !isCrossed).map(({ text }) => text),
    answers: Object.fromEntries(ANSWERS.map((status) => [status, countOf(metrics, `answers_${status}`)])),
    asked,
    finished: countOf(metrics, "finished"),
    times: timesOf(metrics),
  };
}

function timesOf(metrics: Exported["metrics"]): Record<string, Times> {
  const names = [...PHASES.map((phase) => [phase, `phase_${phase}`]), ["in all", "whole"], ["refusal", "refusal"]];
  const rows = names.map(([name = "", metric = ""]) => {
    const of = (field: string) => countOf(metrics, metric, field);
    return [name, { count: of("count"), med: of("med"), p95: of("p(95)"), p99: of("p(99)"), max: of("max") }] as const;
  });
  return Object.fromEntries(rows.filter(([, { count }]) => count > 0));
}

/** k6 leaves out what was never counted. */
function countOf(metrics: Exported["metrics"], name: string, field: string = "count"): number {
  const value = metrics[name]?.[field];
  return typeof value === "number" ? value : 0;
}

/** The times in milliseconds, a row each. */
export function phaseTable({ times }: Report): string {
  const row = (name: string, cells: readonly string[]) =>
    name.padEnd(10) + cells.map((cell) => cell.padStart(10)).join("");
  const rows = Object.entries(times).map(([name, { count, ...rest }]) =>
    row(name, [String(count), ...[rest.med, rest.p95, rest.p99, rest.max].map((ms) => ms.toFixed(1))]),
  );
  return [row("ms", ["runs", "median", "p95", "p99", "max"]), ...rows].join("\n");
}

/** How many were answered how. */
export function answersLine({ asked, finished, answers }: Report): string {
  const given = Object.entries(answers).filter(([, count]) => count > 0);
  return `${asked} asked; answered ${given.map(([status, count]) => `${status}: ${count}`).join(", ")}; ${finished} finished`;
}
