import { expect, test } from "vitest";
import { bytesToSkip, rangeHeaders } from "../../../../runtime/registry/range.ts";

const BLOB = { digest: "sha256:0", size: 100 };

function skip(from: number, status: number, headers: Record<string, string>, etag?: string): number {
  const answer = { status, header: (name: string) => headers[name] };
  return bytesToSkip(answer, BLOB, { from, etag });
}

test("what is asked for is all at first, and then the rest, as long as it is of the same state", () => {
  expect(rangeHeaders(0, '"a"')).toEqual({});
  expect(rangeHeaders(40, undefined)).toEqual({ range: "bytes=40-" });
  expect(rangeHeaders(40, '"a"')).toEqual({ range: "bytes=40-", "if-range": '"a"' });
});

test.each([
  ["the rest", 40, 206, { "content-range": "bytes 40-99/100" }, 0],
  ["a part of the rest", 40, 206, { "content-range": "bytes 40-59/100" }, 0],
  ["the rest of something of unknown size", 40, 206, { "content-range": "bytes 40-99/*" }, 0],
  ["the same state", 40, 206, { "content-range": "bytes 40-99/100", etag: '"a"' }, 0],
  ["all of it once more", 40, 200, { "content-length": "100" }, 40],
  ["all of it, of unknown length", 40, 200, {}, 40],
  ["all of it", 0, 200, { "content-length": "100" }, 0],
] as const)("of %s, the reader has these bytes already", (_what, from, status, headers, skipped) => {
  expect(skip(from, status, headers, '"a"')).toBe(skipped);
});

test.each([
  ["another size", 0, 200, { "content-length": "101" }],
  ["another size", 40, 200, { "content-length": "60" }],
  ["another size", 40, 206, { "content-range": "bytes 40-99/101" }],
  ["another part", 40, 206, { "content-range": "bytes 0-99/100" }],
  ["another part", 40, 206, { "content-range": "bytes 41-99/100" }],
  ["a part that ends behind the end", 40, 206, { "content-range": "bytes 40-100/*" }],
  ["no part that it names", 40, 206, {}],
  ["several parts", 40, 206, { "content-type": "multipart/byteranges" }],
  ["another state", 40, 206, { "content-range": "bytes 40-99/100", etag: '"b"' }],
] as const)("an answer of %s is refused", (_what, from, status, headers) => {
  expect(() => skip(from, status, headers, '"a"')).toThrow(expect.objectContaining({ reason: "image_corrupt" }));
});
