import { describe, expect, it } from "vitest";
import { suiteReport } from "../../../../loadtest/bench/report.ts";
import { absent, type Measured } from "../../../../loadtest/bench/rounds.ts";
import { bestOf } from "../../../../loadtest/bench/suites/throughput.ts";

const measured = (name: string, ...rounds: number[][]): Measured => ({ name, unit: "ms", note: "how", rounds });

describe("a suite's report", () => {
  it("has a row for each, with the figures of all its rounds, and those ratios that can be had", () => {
    const rows = [measured("a", [2, 4], [6]), measured("b", [1], [3]), absent("c", "ms", "not installed")];
    const report = suiteReport(rows, ["a/b", "a/c", "nobody/a"]);
    expect(JSON.parse(JSON.stringify(report))).toEqual({
      rows: [
        { name: "a", n: 3, unit: "ms", note: "how", min: 2, p50: 4, p90: 6, p99: 6, max: 6 },
        { name: "b", n: 2, unit: "ms", note: "how", min: 1, p50: 1, p90: 3, p99: 3, max: 3 },
        { name: "c", n: 0, unit: "ms", note: "not installed" },
      ],
      ratios: [{ name: "a/b", value: 4, spread: { rounds: 2, min: 2, median: 2, max: 2 } }],
    });
  });
});

describe("the best throughput", () => {
  it("is that of the level with the highest median, of this contender alone", () => {
    const all = [measured("runc x1", [5], [6]), measured("runc x8", [9], [1]), measured("runc-like x1", [99])];
    expect(bestOf("runc", all)).toEqual([[5], [6]]);
  });

  it("is nothing where nothing was measured", () => {
    expect(bestOf("docker", [absent("docker", "ms", "not installed")])).toEqual([]);
  });
});
