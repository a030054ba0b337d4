// Sizes for people at a terminal. Not to be read back: `formatSize` of core/units.ts is exact.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Three digits at most before the unit changes, one behind the point: 1_288_490 → `1.2MiB`. */
export function humanSize(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 999.95 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1)}${UNITS[unit]}`;
}
