// From k6's figures to a report: what was crossed, what was answered, and the table of phases.

import { expect, it } from "vitest";
import { answersLine, phaseTable, reportOf } from "../../../loadtest/summary.ts";

const times = (med: number) => ({
  count: 10,
  avg: med,
  min: 0,
  med,
  "p(90)": 1,
  "p(95)": med * 2,
  "p(99)": 99,
  max: 100,
});
const EXPORTED = {
  metrics: {
    asked: { count: 12, rate: 1 },
    finished: { count: 10, rate: 1, thresholds: { "count>0": false } },
    as_expected: { passes: 11, fails: 1, value: 0.9, thresholds: { "rate==1": true } },
    answers_200: { count: 10, rate: 1 },
    answers_429: { count: 2, rate: 1 },
    phase_queue: { ...times(5), thresholds: { "p(95)<1000": false } },
    phase_run: times(7.25),
    whole: times(20),
    http_req_duration: times(21),
  },
};

it("says of each threshold whether it was crossed", () => {
  const { crossed, held } = reportOf(EXPORTED);
  expect(crossed).toEqual(["as_expected: rate==1"]);
  expect(held).toEqual(["finished: count>0", "phase_queue: p(95)<1000", "every request is answered, all 12"]);
});

it("counts a request that was never answered as a crossed threshold, as no threshold of k6's sees it", () => {
  const exported = { metrics: { ...EXPORTED.metrics, asked: { count: 13 } } };
  expect(reportOf(exported).crossed).toContain("every request is answered, all 13");
});

it("counts answers by their status, and what never was as nothing", () => {
  const report = reportOf(EXPORTED);
  expect(report.answers).toEqual({ "200": 10, "202": 0, "429": 2, other: 0 });
  expect(answersLine(report)).toBe("12 asked; answered 200: 10, 429: 2; 10 finished");
});

it("has a row for each phase that there was", () => {
  expect(phaseTable(reportOf(EXPORTED))).toBe(
    [
      "ms              runs    median       p95       p99       max",
      "queue             10       5.0      10.0      99.0     100.0",
      "run               10       7.3      14.5      99.0     100.0",
      "in all            10      20.0      40.0      99.0     100.0",
    ].join("\n"),
  );
});
