// The table of scenarios: every one is an open model with thresholds, asks for what the API takes, and is documented.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { RunRequest } from "../../../core/request.ts";
import { Outcome } from "../../../core/run.ts";
import { GATEWAY_SETTINGS } from "../../../gateway/config.ts";
import { KINDS, kindAt, MIX } from "../../../loadtest/k6/kinds.js";
import { SCENARIOS, type Scenario } from "../../../loadtest/k6/scenarios.js";

const page = readFileSync(join(import.meta.dirname, "../../../docs/loadtest.md"), "utf8");
const load = { rate: 30, durationS: 60 };
const scenarioOf = (name: string) => SCENARIOS[name] as Scenario;

describe.each(Object.keys(SCENARIOS))("%s", (name) => {
  const scenario = scenarioOf(name);

  it("has arrivals at a rate of their own, whatever becomes of the earlier ones", () => {
    expect(scenario.arrivals(load).executor).toMatch(/^(constant|ramping)-arrival-rate$/);
  });

  it("fails if a run fails, if an answer is not as it must be, or if k6 cannot keep up", () => {
    expect(scenario.thresholds).toMatchObject({
      as_expected: ["rate==1"],
      finished: ["count>0"],
      http_req_failed: ["rate==0"],
      dropped_iterations: ["count==0"],
    });
  });

  it("asks for whole numbers only, as k6 takes no others, whatever the rate", () => {
    for (const rate of [0.01, 0.1, 1, 7.77, 450.123, 5000]) {
      const numbers = JSON.stringify(scenario.arrivals({ rate, durationS: 12.5 })).match(/:\d+(\.\d+)?/g) ?? [];
      expect(numbers.filter((number) => number.includes("."))).toEqual([]);
    }
  });

  it("has settings that the gateway knows", () => {
    const known = Object.values(GATEWAY_SETTINGS).map(({ variable }) => variable);
    for (const variable of Object.keys(scenario.settings)) expect(known).toContain(variable);
  });

  it("has kinds that there are, and is on the page", () => {
    for (const kind of scenario.kinds) expect(Object.keys(KINDS)).toContain(kind);
    expect(page).toMatch(new RegExp(`^\\| \`${name}\` \\|`, "m"));
  });
});

test("the page has no other scenario", () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  expect(rows).toEqual(Object.keys(SCENARIOS));
});

test("ramp begins and ends at half of capacity, if its peak is twice that", () => {
  const { startRate, stages } = scenarioOf("ramp").arrivals(load);
  expect(startRate).toBe((load.rate * 60) / 4);
  expect(stages).toEqual([
    { target: 450, duration: "6000ms" },
    { target: 1800, duration: "30000ms" },
    { target: 1800, duration: "15000ms" },
    { target: 450, duration: "0ms" },
    { target: 450, duration: "9000ms" },
  ]);
});

test("burst has one burst in each ten seconds, and one if it is shorter", () => {
  const peaks = (durationS: number) => {
    const stages = scenarioOf("burst").arrivals({ rate: 100, durationS }).stages as { duration: string }[];
    return stages.filter(({ duration }) => duration === "100ms").length;
  };
  expect([1, 10, 25, 60].map(peaks)).toEqual([1, 1, 2, 6]);
});

describe.each(Object.keys(KINDS))("a run of kind %s", (name) => {
  const kind = KINDS[name] ?? kindAt(MIX, 0);

  it("is a request that the gateway takes, and ends in an outcome that there is", () => {
    expect(() => RunRequest.parse({ image: "busybox", ...kind.asks("token-1") })).not.toThrow();
    expect(() => Outcome.parse(kind.ends("token-1").outcome)).not.toThrow();
  });
});

test("the mix has every kind, and they take turns", () => {
  expect(new Set(MIX)).toEqual(new Set(Object.keys(KINDS)));
  expect(kindAt(MIX, 0)).toBe(KINDS.echo);
  expect(kindAt(MIX, MIX.length + 2)).toBe(KINDS.failure);
  expect(() => kindAt(["nothing"], 0)).toThrow("there is no kind");
});
