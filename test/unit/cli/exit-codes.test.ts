import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { conclude, signalNumber } from "../../../cli/exit-codes.ts";
import type { Outcome } from "../../../core/run.ts";

describe("the exit code", () => {
  it.each<[Outcome, number]>([
    [{ kind: "exited", exitCode: 0 }, 0],
    [{ kind: "exited", exitCode: 127 }, 127],
    [{ kind: "signaled", signal: "SIGSEGV" }, 139],
    [{ kind: "signaled", signal: "SIGRTMIN+3" }, 165],
  ])("of %j is %d, without a word", (outcome, exitCode) => expect(conclude(outcome)).toEqual({ exitCode }));

  it.each<[Outcome, number, RegExp]>([
    [{ kind: "timed_out", clock: "run", limit: "5s" }, 124, /timed out: the run clock is over \(5s\)/],
    [{ kind: "timed_out", clock: "queue", limit: "10m" }, 124, /queue clock/],
    [{ kind: "oom_killed", limit: "64MiB" }, 137, /out of memory, at the limit of 64MiB/],
    [{ kind: "cancelled" }, 130, /cancelled/],
    [{ kind: "lost", message: "its host went away" }, 125, /its host went away/],
    [{ kind: "rejected", code: "image_not_found", message: "no such tag" }, 125, /no such tag \(image_not_found\)/],
    [{ kind: "signaled", signal: "SIGWHAT" }, 125, /SIGWHAT/],
  ])("of %j is %d, and a message says why", (outcome, exitCode, message) => {
    expect(conclude(outcome)).toMatchObject({ exitCode, message: expect.stringMatching(message) });
  });

  it("knows every signal of the system by its number", () => {
    for (const [name, number] of Object.entries(constants.signals)) expect(signalNumber(name)).toBe(number);
    expect(signalNumber("SIGRTMIN+31")).toBeUndefined();
  });
});
