import { expect, test } from "vitest";
import { parseWait } from "../../../gateway/prefer.ts";
import { parsePosition } from "../../../gateway/routes/events.ts";

test.each([
  "wait=301",
  "wait=-1",
  "wait=1.5",
  "wait=",
  'wait=""',
  "wait=soon",
  "wait=30s",
  "wait=1e2",
  "wait=9999999999",
])("Prefer: %s is refused, not shortened", (prefer) => {
  expect(() => parseWait(prefer)).toThrow(
    expect.objectContaining({ reason: "invalid_field", details: { field: "Prefer" } }),
  );
});

test.each<[string | undefined, number]>([
  [undefined, 0],
  ["", 0],
  ["respond-async", 0],
  ["waiting=5", 0],
  ["wait=0", 0],
  ["wait=30", 30],
  ["wait=300", 300],
  ["WAIT=30", 30],
  ['wait="30"', 30],
  ["respond-async, wait=30", 30],
  ["wait=30;strict", 30],
  [" wait = 30 , wait=99999", 30],
])("Prefer: %s is a wait of %d seconds", (prefer, seconds) => {
  expect(parseWait(prefer)).toBe(seconds);
});

test("a position is read as attempt and offsets", () => {
  expect(parsePosition("2.100.0")).toEqual({ attempt: 2, stdout: 100, stderr: 0 });
});

test.each([undefined, "", "1", "1.2", "1.2.3.4", "-1.0.0", "1.0x.0", "1.1.1e9", " 1.1.1", "1.9999999999999999.0"])(
  "%j is the beginning",
  (text) => {
    expect(parsePosition(text)).toEqual({ attempt: 1, stdout: 0, stderr: 0 });
  },
);
