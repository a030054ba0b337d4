// A suite for a terminal: a table of figures, then the ratios, then what has to be known to read them.

import type { Ratio } from "./figures.ts";
import type { Row, SuiteReport } from "./report.ts";

const COLUMNS = ["min", "p50", "p90", "p99", "max"] as const;

export function suiteTable(name: string, { rows, ratios }: SuiteReport): string {
  const cells = [["", "n", ...COLUMNS, "unit"], ...rows.map(cellsOf)];
  const notes = rows.filter(({ note }) => note !== "").map((row) => `  ${row.name}: ${row.note}`);
  return [
    `${name}`,
    ...aligned(cells),
    ...(ratios.length > 0 ? ["", "ratios of medians, and their spread over the rounds", ...ratioLines(ratios)] : []),
    ...(notes.length > 0 ? ["", "notes", ...notes] : []),
    "",
  ].join("\n");
}

function cellsOf(row: Row): string[] {
  const figures = COLUMNS.map((column) => (row[column] === undefined ? "–" : formatFigure(row[column])));
  return [row.name, String(row.n), ...figures, row.unit];
}

function ratioLines(ratios: readonly Ratio[]): string[] {
  return aligned(
    ratios.map(({ name, value, spread }) => [
      name,
      `${formatFigure(value)} x`,
      spread
        ? `${formatFigure(spread.min)} … ${formatFigure(spread.median)} … ${formatFigure(spread.max)} in ${spread.rounds} rounds`
        : "",
    ]),
  );
}

/** The first and the last column to the left, figures to the right. */
function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        return i === 0 || i === line.length - 1 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd()
      .replace(/^/, "  "),
  );
}

/** Three significant digits, and no fewer than stand before the point. */
export function formatFigure(value: number): string {
  const digits = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.min(3, Math.max(0, 3 - digits)));
}
