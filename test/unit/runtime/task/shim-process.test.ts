import { describe, expect, it } from "vitest";
import { parseShimLine } from "../../../../runtime/task/shim-process.ts";

describe("a line of the shim's", () => {
  it("is refused when it is none of those that protocol.h draws", () => {
    for (const line of ["", "exited", "exited code", "exited of boredom", "exited code 1 2", "Created"]) {
      expect(() => parseShimLine(line), line).toThrow("the shim said");
    }
  });

  it("tells an exit code and a signal apart", () => {
    expect(parseShimLine("exited code 137")).toEqual({ kind: "ended", process: { kind: "exited", exitCode: 137 } });
    expect(parseShimLine("exited signal 9")).toEqual({
      kind: "ended",
      process: { kind: "signaled", signal: "SIGKILL" },
    });
  });

  it("names a real-time signal, which Node does not", () => {
    expect(parseShimLine("exited signal 40")).toEqual({
      kind: "ended",
      process: { kind: "signaled", signal: "SIGRTMIN+6" },
    });
  });

  it("carries the stage and the words of a failure", () => {
    expect(parseShimLine("failed mount mount overlay: Invalid argument")).toEqual({
      kind: "failed",
      stage: "mount",
      message: "mount overlay: Invalid argument",
    });
  });
});
