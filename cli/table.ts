// Text in columns, for people at a terminal.

import { formatDuration } from "../core/units.ts";

/** What a cell looks like; it must not change how wide the cell is. */
type Look = (cell: string, column: number, row: number) => string;

/** Pads every column but the last to its widest cell, two spaces apart. */
export function alignColumns(rows: readonly (readonly string[])[], look: Look = (cell) => cell): string[] {
  const cells = rows.map((row) => row.map(printable));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  return cells.map((row, index) =>
    row
      .map((cell, column) => {
        const padding = column === row.length - 1 ? 0 : (widths[column] ?? 0) - cell.length;
        return look(cell, column, index) + " ".repeat(padding);
      })
      .join("  ")
      .trimEnd(),
  );
}

/** Names come from others, so nothing in them may steer the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, "?");
}

/** The two largest units of a span, in whole seconds: 93_784_000 ms → `1d2h`; `0s` for what is under a second, or negative. */
export function formatAge(ms: number): string {
  const whole = formatDuration(Math.max(0, Math.floor(ms / 1000) * 1000));
  return /^(?:\d+[a-z]+){1,2}/.exec(whole)?.[0] ?? whole;
}
