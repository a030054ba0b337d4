import { describe, expect, it } from "vitest";
import { logScale, svgPlot } from "../../../../loadtest/bench/plot.ts";

const MACHINE = {
  cpus: 2,
  cpuModel: "A <CPU> & Co",
  memoryBytes: 1,
  kernel: "6.1",
  distribution: "Debian",
  cgroups: "v2",
  node: "v26",
};

const row = (name: string, unit: string, p50: number) => ({
  ...{ name, unit, note: "", n: 1 },
  ...{ min: p50 / 2, p50, p90: p50 * 2, p99: p50 * 3, max: p50 * 4 },
});

describe("a plot", () => {
  it("has a line for each row with figures, an axis for each unit, and no markup of anybody else's", () => {
    const rows = [
      row("mayfly-http", "ms", 8),
      row("blank", "KiB", 300),
      { name: "crun", n: 0, unit: "ms", note: "no" },
    ];
    const svg = svgPlot("start", { rows, ratios: [] }, MACHINE);
    expect(svg).toMatch(/^<svg [^>]*viewBox="0 0 900 \d+"/);
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).toContain(">KiB<");
    expect(svg).toContain("A &lt;CPU&gt; &amp; Co");
    expect(svg).toContain("prefers-color-scheme: dark");
    expect(svg).not.toContain("crun");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("can be made of nothing", () => {
    expect(svgPlot("queue", { rows: [], ratios: [] }, MACHINE)).toMatch(/<\/svg>\n$/);
  });
});

describe("a logarithmic scale", () => {
  it("puts equal factors at equal distances, and everything between its ends", () => {
    const { at, ticks } = logScale([1, 10, 100, 1000], 0, 300);
    expect(at(100) - at(10)).toBeCloseTo(at(10) - at(1));
    expect(ticks).toEqual([1, 10, 100, 1000]);
    for (const value of [-5, 0, 1, 1000]) expect(at(value)).toBeGreaterThanOrEqual(0);
    expect(at(1000)).toBeLessThanOrEqual(300);
  });

  it("has finer marks where there is little to show", () => {
    expect(logScale([20, 60], 0, 100).ticks).toEqual([20, 50]);
  });
});
