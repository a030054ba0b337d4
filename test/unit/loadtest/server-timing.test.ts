// The parser of Server-Timing, with what the gateway writes and with what anybody might.

import fc from "fast-check";
import { expect, it, test } from "vitest";
import { PHASES } from "../../../core/run.ts";
import { PHASES as JUDGED } from "../../../loadtest/k6/judge.js";
import { parseServerTiming } from "../../../loadtest/k6/server-timing.js";

it("reads what the gateway writes", () => {
  expect(parseServerTiming("queue;dur=2, pull;dur=0.076, prepare;dur=52.013, collect;dur=1e-7")).toEqual({
    queue: 2,
    pull: 0.076,
    prepare: 52.013,
    collect: 1e-7,
  });
});

test.each([
  ["no header", undefined, {}],
  ["an empty header", "", {}],
  ["an entry without a duration", "miss, db;dur=53", { db: 53 }],
  ["a description", 'cache;desc="Cache Read";dur=23.2', { cache: 23.2 }],
  ["blanks and quotes", ' a ; dur = "5" ,b;DUR=6', { a: 5, b: 6 }],
  ["a duration that is none", "a;dur=soon, b;dur=-1", {}],
])("is content with %s", (_, header, durations) => {
  expect(parseServerTiming(header)).toEqual(durations);
});

it("gives back every set of phases that is written", () => {
  const durations = fc.dictionary(fc.constantFrom(...PHASES), fc.double({ min: 0, max: 1e9, noNaN: true }));
  fc.assert(
    fc.property(durations, (phases) => {
      const header = Object.entries(phases).map(([phase, ms]) => `${phase};dur=${ms}`);
      expect(parseServerTiming(header.join(", "))).toEqual({ ...phases });
    }),
  );
});

it("is asked for the phases that there are", () => {
  expect(JUDGED).toEqual(PHASES);
});
