import { describe, expect, it } from "vitest";
import { formatFigure, suiteTable } from "../../../../loadtest/bench/table.ts";

describe("a suite's table", () => {
  it("has figures in columns, a dash where there are none, ratios with their spread, and notes below", () => {
    const text = suiteTable("start", {
      rows: [
        { name: "mayfly", n: 2, min: 1, p50: 1.5, p90: 20, p99: 300, max: 4000, unit: "ms", note: "" },
        { name: "docker", n: 0, unit: "ms", note: "docker is not installed" },
      ],
      ratios: [
        { name: "a/b", value: 2, spread: { rounds: 3, min: 1.5, median: 2, max: 2.5 } },
        { name: "mayfly/docker", value: 0.01234 },
      ],
    });
    expect(text).toBe(`start
          n   min   p50   p90  p99   max  unit
  mayfly  2  1.00  1.50  20.0  300  4000  ms
  docker  0     –     –     –    –     –  ms

ratios of medians, and their spread over the rounds
  a/b             2.00 x  1.50 … 2.00 … 2.50 in 3 rounds
  mayfly/docker  0.012 x

notes
  docker: docker is not installed
`);
  });

  it("shows three digits of a figure", () => {
    expect([0, 0.04567, 0.4567, 4.567, 45.67, 456.7, 4567].map(formatFigure)).toEqual([
      "0.00",
      "0.046",
      "0.457",
      "4.57",
      "45.7",
      "457",
      "4567",
    ]);
  });
});
