// Prometheus' text exposition format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format):
//
//   # HELP mayfly_runs_total Runs that have ended, by how.
//   # TYPE mayfly_runs_total counter
//   mayfly_runs_total{outcome="exited"} 12

import type { Distribution, Family, Labels, Metrics, Sample } from "./metrics.ts";

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Everything that is counted, as it is now. */
export async function prometheusText(metrics: Metrics): Promise<string> {
  return (await metrics.families()).map(textOf).join("");
}

function textOf(family: Family): string {
  const { name, help, kind } = family;
  const lines =
    family.kind === "histogram"
      ? family.samples.flatMap((sample) => histogramLines(name, family.bounds, sample))
      : family.samples.map(({ labels, value }) => line(name, labels, value));
  return [`# HELP ${name} ${escapeHelp(help)}\n`, `# TYPE ${name} ${kind}\n`, ...lines].join("");
}

/** Each bucket has all that is in those before it, and the last is of everything. */
function histogramLines(name: string, bounds: readonly number[], { labels, value }: Sample<Distribution>): string[] {
  let below = 0;
  const buckets = value.counts.map((count, i) => {
    below += count;
    return line(`${name}_bucket`, { ...labels, le: numeral(bounds[i] ?? Number.POSITIVE_INFINITY) }, below);
  });
  return [...buckets, line(`${name}_sum`, labels, value.sum), line(`${name}_count`, labels, value.count)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${numeral(value)}\n`;
}

function numeral(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
