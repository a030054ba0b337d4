// A suite as a picture: a line a row from its least to its greatest sample, on a logarithmic axis, thick from p50 to p90,
// with a dot and a number at the median. Colours that can be read on white and on black; no font is assumed.

import type { Machine } from "./machine.ts";
import type { Row, SuiteReport } from "./report.ts";
import { formatFigure } from "./table.ts";

const WIDTH = 900;
const LEFT = 190;
const RIGHT = 90;
const TOP = 56;
const ROW = 24;
const BOTTOM = 46;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .small { font-size: 11px; fill: #656d76 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .range { stroke: #8c959f; stroke-width: 2 }
  .body { stroke-width: 8; opacity: 0.45 }
  .ours { stroke: #0969da; fill: #0969da }
  .kernel { stroke: #1a7f37; fill: #1a7f37 }
  .peer { stroke: #9a6700; fill: #9a6700 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #8d96a0 }
    .grid { stroke: #30363d }
    .ours { stroke: #4493f8; fill: #4493f8 }
    .kernel { stroke: #3fb950; fill: #3fb950 }
    .peer { stroke: #d29922; fill: #d29922 }
  }`;

type Measured = Row & Required<Pick<Row, "min" | "p50" | "p90" | "max">>;

/** A picture for each unit of the suite, one below the other: figures of two units have no axis in common. */
export function svgPlot(name: string, { rows }: SuiteReport, machine: Machine): string {
  const measured = rows.filter((row): row is Measured => row.n > 0);
  const units = [...new Set(measured.map(({ unit }) => unit))];
  let top = TOP;
  const panels = units.map((unit) => {
    const panel = panelOf(
      measured.filter((row) => row.unit === unit),
      unit,
      top,
    );
    top += panel.height;
    return panel.svg;
  });
  const of = `${machine.cpus} CPUs (${machine.cpuModel}), Linux ${machine.kernel}, cgroups ${machine.cgroups}, Node ${machine.node}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top + 8}" role="img" aria-label="${escaped(name)}">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="12" y="22">${escaped(name)}</text>`,
    `<text class="small" x="12" y="40">min – p50 – p90 – max, logarithmic; ${escaped(of)}</text>`,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panelOf(rows: readonly Measured[], unit: string, top: number): { svg: string; height: number } {
  const scale = logScale(
    rows.flatMap(({ min, max }) => [min, max]),
    LEFT,
    WIDTH - RIGHT,
  );
  const bottom = top + rows.length * ROW;
  const grid = scale.ticks.flatMap((tick) => {
    const x = scale.at(tick).toFixed(1);
    return [
      `<line class="grid" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>`,
      `<text class="small" x="${x}" y="${bottom + 15}" text-anchor="middle">${tickLabel(tick)}</text>`,
    ];
  });
  const unitLabel = `<text class="small" x="${WIDTH - RIGHT + 24}" y="${bottom + 15}">${escaped(unit)}</text>`;
  const lines = rows.map((row, i) => rowSvg(row, top + i * ROW + ROW / 2, scale.at));
  return { svg: [...grid, unitLabel, ...lines].join("\n"), height: rows.length * ROW + BOTTOM };
}

function rowSvg({ name, min, p50, p90, max }: Measured, y: number, at: (value: number) => number): string {
  const [a, b, c, d] = [min, p50, p90, max].map((value) => at(value).toFixed(1));
  const kind =
    name.includes("mayfly") || /^(start-|blank|sleeping)/.test(name)
      ? "ours"
      : name.startsWith("floor")
        ? "kernel"
        : "peer";
  return [
    `<text x="${LEFT - 12}" y="${y + 4}" text-anchor="end">${escaped(name)}</text>`,
    `<line class="range" x1="${a}" x2="${d}" y1="${y}" y2="${y}"/>`,
    `<line class="body ${kind}" x1="${b}" x2="${c}" y1="${y}" y2="${y}"/>`,
    `<circle class="${kind}" cx="${b}" cy="${y}" r="4"/>`,
    `<text class="small" x="${(at(max) + 8).toFixed(1)}" y="${y + 4}">${formatFigure(p50)}</text>`,
  ].join("\n");
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Whole decades where there are several, else 1, 2 and 5 of each. What is 0 or less (a memory that shrank) is put at the left. */
export function logScale(values: readonly number[], from: number, to: number): Scale {
  const positive = values.filter((value) => value > 0);
  const least = Math.min(...positive, 1e9) * 0.9;
  const most = Math.max(...positive, least * 2) * 1.1;
  const [low, high] = [Math.log10(least), Math.log10(most)];
  const steps = high - low > 2.5 ? [1] : [1, 2, 5];
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  const ticks = decades.flatMap((decade) => steps.map((step) => step * 10 ** decade));
  return {
    at: (value) => (value <= least ? from : from + ((Math.log10(value) - low) / (high - low)) * (to - from)),
    ticks: ticks.filter((tick) => tick >= least && tick <= most),
  };
}

function tickLabel(tick: number): string {
  return String(Number(tick.toPrecision(2)));
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
