import { afterEach, describe, expect, it, vi } from "vitest";
import { closingLine } from "../../../infra/closing-line.ts";
import { FailOnSkip } from "../../../infra/fail-on-skip.ts";
import type { TestModule } from "../../../infra/test-results.ts";

function moduleOf(state: string, ...states: string[]): TestModule {
  const cases = states.map((each) => ({
    fullName: `a ${each} test`,
    result: () => ({ state: each, note: "no crun here" }),
  }));
  return { state: () => state, children: { allTests: () => cases } };
}

describe("the closing line", () => {
  it("counts what passed and what failed", () => {
    expect(closingLine([moduleOf("failed", "passed", "failed"), moduleOf("passed", "passed")], 0)).toBe(
      "2 passed, 1 failed",
    );
  });

  it("counts skipped tests when there are some", () => {
    expect(closingLine([moduleOf("passed", "passed", "skipped")], 0)).toBe("1 passed, 0 failed, 1 skipped");
  });

  it("never calls a file that could not be loaded, or an error outside of the tests, a success", () => {
    expect(closingLine([moduleOf("failed"), moduleOf("passed", "passed")], 1)).toBe("1 passed, 2 failed");
  });
});

describe("a skipped test in CI", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  });

  it("is named with its reason and fails the run", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    new FailOnSkip().onTestRunEnd([moduleOf("passed", "passed", "skipped")]);
    expect(process.exitCode).toBe(1);
    expect(write.mock.calls[0]?.[0]).toBe("skipped: a skipped test: no crun here\n");
  });

  it("is the only reason to fail it", () => {
    new FailOnSkip().onTestRunEnd([moduleOf("passed", "passed")]);
    expect(process.exitCode).toBeUndefined();
  });
});
