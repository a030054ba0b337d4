// The load test's command line.

import { describe, expect, it, test } from "vitest";
import { parseArguments } from "../../../loadtest/arguments.ts";

const URL = ["--url", "http://127.0.0.1:8080"];
const IMAGE = ["--image", "127.0.0.1:5000/busybox"];

it("needs no more than a scenario", () => {
  expect(parseArguments(["steady"])).toEqual({ kind: "load", scenario: "steady" });
});

it("takes flags before and after the scenario, their values behind a space or an equals sign", () => {
  expect(parseArguments(["--rate", "2.5", "mixed", "--duration=1m30s", "--summary", "a=b.json"])).toEqual({
    kind: "load",
    scenario: "mixed",
    rate: 2.5,
    durationS: 90,
    summaryFile: "a=b.json",
  });
});

it("takes a gateway that is there already, without a slash at the end of its URL", () => {
  expect(parseArguments(["smoke", "--url", "http://127.0.0.1:8080/", ...IMAGE])).toMatchObject({
    target: { url: "http://127.0.0.1:8080", image: "127.0.0.1:5000/busybox" },
  });
});

test("list and --help ask for no load", () => {
  expect(parseArguments(["list"])).toEqual({ kind: "list" });
  expect(parseArguments(["smoke", "--help"])).toEqual({ kind: "help" });
});

describe("what is refused, with what would be understood", () => {
  test.each<[string, string[], string]>([
    ["no scenario", [], "which scenario? There are smoke, cold"],
    ["an unknown scenario", ["smok"], "unknown scenario smok; there are smoke, cold"],
    ["a name that every object has", ["constructor"], "unknown scenario constructor"],
    ["two scenarios", ["smoke", "cold"], "one scenario at a time: smoke, cold"],
    ["an unknown flag", ["smoke", "--rat", "3"], "unknown flag --rat; there are --url, --image, --duration, --rate"],
    ["a flag twice", ["smoke", "--rate", "3", "--rate=4"], "--rate is given twice"],
    ["a flag without its value", ["smoke", "--summary"], "--summary lacks its value"],
    ["a flag with an empty value", ["smoke", "--summary="], "--summary lacks its value"],
    ["a duration without a unit", ["smoke", "--duration", "30"], "--duration 30 is not a duration with units"],
    ["a duration that is no time at all", ["smoke", "--duration", "10ms"], "--duration 10ms is not from 1s to 24h"],
    ["a rate of nothing", ["smoke", "--rate", "0"], "--rate 0 is not a number over 0"],
    ["a rate that is no number", ["smoke", "--rate", "1e9"], "--rate 1e9 is not a number over 0"],
    ["a URL without an image", ["smoke", ...URL], "--url goes with --image"],
    ["an image without a URL", ["smoke", ...IMAGE], "--image goes with --url"],
    ["a URL of something else", ["smoke", "--url", "localhost:8080", ...IMAGE], "is not a URL such as http://"],
    ["a leak check of somebody else's host", ["soak", ...URL, ...IMAGE], "needs a stack of its own"],
  ])("%s", (_, argv, message) => {
    expect(() => parseArguments(argv)).toThrow(message);
  });
});
