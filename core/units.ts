// Durations and sizes as users write them ("1m30s", "256MiB"), and the numbers they stand for.

const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_BYTES = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

export const DURATION_FORM = 'a duration with units, such as "500ms", "30s" or "1h30m"';
export const SIZE_FORM = 'a size with a unit, such as "64KiB", "256MiB" or "1GB"';

/** Milliseconds of `"1m30s"`; undefined if it is not one. Units d, h, m, s, ms, each at most once, largest first. */
export function parseDuration(text: string): number | undefined {
  const match = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/.exec(text);
  if (!match || text === "") return undefined;
  const [, d, h, m, s, ms] = match.map((part) => Number(part ?? 0));
  return (
    (d ?? 0) * DURATION_MS.d +
    (h ?? 0) * DURATION_MS.h +
    (m ?? 0) * DURATION_MS.m +
    (s ?? 0) * DURATION_MS.s +
    (ms ?? 0)
  );
}

/** Whole bytes of `"256MiB"` or `"1.5GB"`; undefined if it is not one. Exact: the fraction is never a binary one. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15})(?:\.(\d{1,6}))?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$/.exec(text);
  if (!match) return undefined;
  const [, whole = "", fraction = "", unit = ""] = match;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * BigInt(SIZE_BYTES[unit as keyof typeof SIZE_BYTES]);
  const bytes = Number(scaled / scale);
  return scaled % scale === 0n && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest exact form: 90_000 → "1m30s". */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = ms;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const count = Math.floor(rest / DURATION_MS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * DURATION_MS[unit];
  }
  return text;
}

/** The largest binary unit that divides evenly: 268_435_456 → "256MiB". */
export function formatSize(bytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    if (bytes > 0 && bytes % SIZE_BYTES[unit] === 0) return `${bytes / SIZE_BYTES[unit]}${unit}`;
  }
  return `${bytes}B`;
}
