import { expect, test } from "vitest";
import { RateFloor } from "../../../../runtime/registry/rate-floor.ts";

test("a byte now and then is too slow, as soon as a window of waiting is full", () => {
  const floor = new RateFloor(1_000, 30_000);
  floor.add(1, 29_000);
  expect(() => floor.add(1, 1_000)).toThrow("the body comes at 0 bytes/s, less than 1000");
});

test("an average counts, not a single wait, and each window for itself", () => {
  const floor = new RateFloor(1_000, 30_000);
  floor.add(30_000, 1);
  floor.add(1, 29_999);
  floor.add(1_000_000, 1);
  floor.add(1, 29_999);
  floor.add(29_000, 1);
  expect(() => floor.add(1, 29_999)).toThrow("967 bytes/s");
});
