import { describe, expect, test } from "vitest";
import { readFilters, readMoment } from "../../../cli/run-filter.ts";

describe("filters of a list", () => {
  test("are by state, image and any number of labels, whose values may have a =", () => {
    expect(readFilters(["state=running", "label=a=b=c", "label=x=", "image=busybox:1"])).toEqual({
      state: "running",
      label: ["a=b=c", "x="],
      image: "busybox:1",
    });
    expect(readFilters([])).toEqual({ state: undefined, label: [], image: undefined });
  });

  test.each([
    ["colour=red", /begin with state=, label=, image=/],
    ["state", /begin with/],
    ["state=over", /not one of queued/],
    ["label=x", /label=NAME=VALUE/],
    ["label==x", /label=NAME=VALUE/],
  ])("are refused if they say nothing that is known: %s", (text, says) => {
    expect(() => readFilters([text])).toThrow(says);
  });

  test("are refused where a run can have only one", () => {
    expect(() => readFilters(["state=running", "state=queued"])).toThrow(/state= may be given once/);
  });
});

describe("a moment", () => {
  test("is one, or so long ago", () => {
    const now = Date.parse("2026-01-31T08:00:00Z");
    expect(readMoment("90m", "--since", now)).toBe("2026-01-31T06:30:00.000Z");
    expect(readMoment("2026-01-30T08:00:00+01:00", "--since", now)).toBe("2026-01-30T07:00:00.000Z");
    expect(readMoment(undefined, "--since", now)).toBeUndefined();
    expect(() => readMoment("yesterday", "--since", now)).toThrow(/neither a moment/);
  });
});
