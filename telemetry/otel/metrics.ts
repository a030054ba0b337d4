// The process's own counters in the form that OpenTelemetry's metric reader takes from producers other than itself. Always cumulative.

import { type HrTime, ValueType } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import type { Distribution, Family, Metrics, Sample } from "../metrics.ts";
import { nowMs } from "../tracing.ts";

export function producerOf(metrics: Metrics, resource: Resource): MetricProducer {
  return {
    async collect() {
      const families = await metrics.families();
      const times = { startTime: hrTime(metrics.sinceMs), endTime: hrTime(nowMs()) };
      const scope = { scope: { name: "mayfly" }, metrics: families.map((family) => dataOf(family, times)) };
      return { resourceMetrics: { resource, scopeMetrics: [scope] }, errors: [] };
    },
  };
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

function dataOf(family: Family, times: Times): MetricData {
  const { name, help, kind } = family;
  const common = {
    descriptor: { name, description: help, unit: unitOf(name), valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  if (family.kind === "histogram") {
    const dataPoints = family.samples.map(({ labels, value }) => ({
      ...times,
      attributes: labels,
      value: histogramOf(family.bounds, value),
    }));
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  const dataPoints = family.samples.map(({ labels, value }: Sample) => ({ ...times, attributes: labels, value }));
  if (kind === "gauge") return { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
  return { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
}

function histogramOf(bounds: readonly number[], { counts, sum, count }: Distribution) {
  return { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count };
}

/** Units last in a name (UCUM's words for them); of what is only counted there is none. */
function unitOf(name: string): string {
  const bare = name.replace(/_total$/, "");
  if (bare.endsWith("_seconds")) return "s";
  return bare.endsWith("_bytes") ? "By" : "1";
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.floor((ms - seconds * 1000) * 1e6)];
}
