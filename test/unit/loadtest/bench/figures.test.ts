import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { percentile, ratioOf, rounded, summarize } from "../../../../loadtest/bench/figures.ts";

const samples = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 });

describe("a percentile", () => {
  it("is the smallest sample that so many do not exceed", () => {
    const ten = [10, 1, 9, 2, 8, 3, 7, 4, 6, 5];
    expect([0, 50, 90, 99, 100].map((percent) => percentile(ten, percent))).toEqual([1, 5, 9, 10, 10]);
  });

  it("of one sample is that sample", () => {
    expect([0, 50, 100].map((percent) => percentile([7], percent))).toEqual([7, 7, 7]);
  });

  it("of nothing is an error, and not 0", () => {
    expect(() => percentile([], 50)).toThrow("no samples");
  });

  it("is one of the samples, whatever they are, and grows with the percentage", () => {
    fc.assert(
      fc.property(samples, fc.integer({ min: 0, max: 100 }), (all, percent) => {
        expect(all).toContain(percentile(all, percent));
        expect(percentile(all, percent)).toBeLessThanOrEqual(percentile(all, 100));
        expect(percentile(all, 0)).toBe(Math.min(...all));
      }),
    );
  });
});

describe("a summary", () => {
  it("has every figure in order, and does not touch the samples", () => {
    const given = [3, 1, 2];
    expect(summarize(given)).toEqual({ n: 3, min: 1, p50: 2, p90: 3, p99: 3, max: 3 });
    expect(given).toEqual([3, 1, 2]);
  });

  it("keeps microseconds of milliseconds, and the digits of what is small", () => {
    expect(rounded(12.34567)).toBe(12.346);
    expect(rounded(0.000123456)).toBe(0.0001235);
  });
});

describe("a ratio", () => {
  it("is the first name's median by the second's, with its spread over the rounds that both have", () => {
    expect(ratioOf("a/b", [[20, 40], [60], [80]], [[10], [20]])).toEqual({
      name: "a/b",
      value: 4,
      spread: { rounds: 2, min: 2, median: 2, max: 3 },
    });
  });

  it("has no spread where there is one round", () => {
    expect(ratioOf("a/b", [[6]], [[3]])).toEqual({ name: "a/b", value: 2 });
  });

  it("does not exist when a side has no figures", () => {
    expect(ratioOf("a/b", [], [[1]])).toBeUndefined();
    expect(ratioOf("a/b", [[1]], [[]])).toBeUndefined();
  });
});
