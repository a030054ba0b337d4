// The page about metrics and the code name the same ones.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { countRuns, measureQueues, observeSettled } from "../../../gateway/dispatch/queue-metrics.ts";
import { connectRedis } from "../../../gateway/dispatch/redis.ts";
import { observe } from "../../../gateway/middleware/observe.ts";
import { prometheusText } from "../../../telemetry/prometheus.ts";
import { type Telemetry, untold } from "../../../telemetry/telemetry.ts";
import { Ledger } from "../../../worker/admission.ts";
import { attemptObserver } from "../../../worker/attempts.ts";
import { measureHost, pullMeter } from "../../../worker/host-metrics.ts";

const PAGE = readFileSync(join(import.meta.dirname, "../../../docs/telemetry.md"), "utf8");

function gatewayTelemetry(): Telemetry {
  const telemetry = untold();
  const redis = connectRedis(undefined); // Never told to connect: it is not asked.
  observe(telemetry);
  measureQueues(telemetry, redis, []);
  observeSettled(telemetry, redis, countRuns(telemetry));
  return telemetry;
}

function workerTelemetry(): Telemetry {
  const telemetry = untold();
  attemptObserver(telemetry);
  pullMeter(telemetry.metrics);
  const ledger = new Ledger({ cpus: 1, memoryBytes: 1, pids: 1, slots: 1 });
  measureHost(telemetry.metrics, ledger, { blanks: async () => ({ ready: 0, wanted: 0, cgroups: [] }) });
  return telemetry;
}

const namesIn = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name ?? "");

it("every metric is on the page, and every one on the page is there", async () => {
  const texts = await Promise.all(
    [gatewayTelemetry(), workerTelemetry()].map(({ metrics }) => prometheusText(metrics)),
  );
  const told = new Set(namesIn(texts.join(""), /^# TYPE (\w+) /gm));
  expect(told.size).toBeGreaterThan(15);
  expect(told).toEqual(new Set(namesIn(PAGE, /`(mayfly_\w+)`/g)));
});
