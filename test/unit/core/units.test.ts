import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../core/units.ts";

test.each([
  ["", "nothing"],
  ["10", "no unit"],
  ["s", "no number"],
  ["-1s", "a sign"],
  ["1.5s", "a fraction"],
  ["1s1m", "units in the wrong order"],
  ["1s1s", "a unit twice"],
  [" 1s", "a space"],
  ["1S", "an upper-case unit"],
  ["1s\n", "a line end"],
  ["1e3s", "an exponent"],
])("%j is no duration: it has %s", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test.each([
  ["0s", 0],
  ["500ms", 500],
  ["30s", 30_000],
  ["1h30m", 5_400_000],
  ["90m", 5_400_000],
  ["1d2h3m4s5ms", 93_784_005],
] as const)("the duration %s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test("a duration that is written out is read back as the same", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 30 * 86_400_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});

test.each([
  ["", "nothing"],
  ["1024", "no unit"],
  ["MiB", "no number"],
  ["-1MiB", "a sign"],
  ["1mb", "a unit in the wrong case"],
  ["1 MiB", "a space"],
  ["0.1B", "a part of a byte"],
  ["1.3KiB", "a part of a byte"],
  ["999999999999999TiB", "more bytes than can be counted exactly"],
  ["1MiB\n", "a line end"],
])("%j is no size: it has %s", (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test.each([
  ["0B", 0],
  ["1kB", 1000],
  ["1KiB", 1024],
  ["256MiB", 268_435_456],
  ["1.5GB", 1_500_000_000],
  ["0.5MiB", 524_288],
] as const)("the size %s is %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test("a decimal fraction that is a whole number of bytes is a size, however binary fractions round", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 0, max: 999_999 }), (whole, millionths) => {
      const text = `${whole}.${String(millionths).padStart(6, "0")}MB`;
      expect({ text, bytes: parseSize(text) }).toEqual({ text, bytes: whole * 1_000_000 + millionths });
    }),
    {
      examples: [
        [2, 8],
        [1, 5_000],
        [2, 11],
      ],
    },
  );
});

test("a size that is written out is read back as the same", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 49 }), (bytes) => {
      expect(parseSize(formatSize(bytes))).toBe(bytes);
    }),
  );
});

test("a size is written in the largest binary unit that divides it", () => {
  expect([268_435_456, 1024, 1025, 0, 2 ** 40].map(formatSize)).toEqual(["256MiB", "1KiB", "1025B", "0B", "1TiB"]);
});
