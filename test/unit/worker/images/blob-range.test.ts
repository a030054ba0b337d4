import fc from "fast-check";
import { expect, test } from "vitest";
import { parseRange } from "../../../../worker/images/blob-range.ts";

test.each([
  ["bytes=0-99", { start: 0, end: 99 }],
  ["bytes=0-0", { start: 0, end: 0 }],
  ["bytes=990-2000", { start: 990, end: 999 }],
  ["bytes=990-", { start: 990, end: 999 }],
  ["bytes=-10", { start: 990, end: 999 }],
  ["bytes=-5000", { start: 0, end: 999 }],
  ["bytes=1000-", "none"],
  ["bytes=1000-2000", "none"],
  ["bytes=-0", "none"],
  [undefined, undefined],
  ["", undefined],
  ["bytes=", undefined],
  ["bytes=-", undefined],
  ["bytes=9-5", undefined],
  ["bytes=0-1,5-6", undefined],
  ["items=0-1", undefined],
  ["bytes=a-b", undefined],
  ["bytes=-1-2", undefined],
  [`bytes=${"9".repeat(16)}-`, undefined],
])("of 1000 bytes, %j asks for %j", (header, expected) => {
  expect(parseRange(header, 1000)).toEqual(expected);
});

test("of nothing there is no range", () => {
  expect(parseRange("bytes=0-", 0)).toBe("none");
  expect(parseRange("bytes=-1", 0)).toBe("none");
});

test("whatever is asked for, what is answered lies within the blob", () => {
  const side = fc.option(fc.nat({ max: 2000 }), { nil: "" });
  fc.assert(
    fc.property(side, side, fc.nat({ max: 1000 }), (first, last, size) => {
      const range = parseRange(`bytes=${first}-${last}`, size);
      if (typeof range !== "object") return;
      expect(range.start).toBeGreaterThanOrEqual(0);
      expect(range.start).toBeLessThanOrEqual(range.end);
      expect(range.end).toBeLessThan(size);
    }),
  );
});
