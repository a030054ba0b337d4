// How a program that leaves artifacts is brought to its end, and how collecting them is.

import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ARTIFACT_BOUNDS } from "../../../core/artifacts.ts";
import { boundCollecting } from "../../../worker/artifacts.ts";
import { Ending } from "../../../worker/ending.ts";
import { stopOn } from "../../../worker/stop.ts";
import { FakeSandbox } from "../../helpers/fake-sandbox.ts";

/** One that does as it is told, or not. */
class Deaf extends FakeSandbox {
  override artifacts: PassThrough | undefined = new PassThrough();
  override killProgram(): void {
    this.signals.push("end");
  }
}

let sandbox: Deaf;
let ending: Ending;
beforeEach(() => {
  vi.useFakeTimers();
  sandbox = new Deaf();
  ending = new Ending();
});
afterEach(() => {
  vi.useRealTimers();
});

test("a program that does not heed SIGTERM is killed alone, and its container if that is not heard", () => {
  stopOn(ending, sandbox, 1_000);
  ending.because({ kind: "timed_out", clock: "run", limitMs: 1 });
  expect(sandbox.signals).toEqual(["SIGTERM"]);
  vi.advanceTimersByTime(1_000);
  expect(sandbox.signals).toEqual(["SIGTERM", "end"]);
  vi.advanceTimersByTime(ARTIFACT_BOUNDS.collectMs);
  expect(sandbox.signals).toEqual(["SIGTERM", "end", "SIGKILL"]);
});

test("who is in a hurry has no grace, and the artifacts all the same", () => {
  stopOn(ending, sandbox, 1_000);
  ending.hurry();
  ending.because({ kind: "cancelled" });
  expect(sandbox.signals).toEqual(["end"]);
});

test.each(["lease_lost", "drained"] as const)("nothing is collected once the run is not ours: %s", (kind) => {
  stopOn(ending, sandbox, 1_000);
  ending.because({ kind });
  expect(sandbox.signals).toEqual(["SIGKILL"]);
});

test("a program that has ended is not killed by a grace that was under way", () => {
  const stop = stopOn(ending, sandbox, 1_000);
  ending.because({ kind: "cancelled" });
  stop();
  vi.runAllTimers();
  expect(sandbox.signals).toEqual(["SIGTERM"]);
});

test("collecting ends by its clock, or for whoever is in a hurry", () => {
  boundCollecting(sandbox, ending);
  vi.advanceTimersByTime(ARTIFACT_BOUNDS.collectMs);
  expect(sandbox.signals).toEqual(["SIGKILL"]);
  const other = new Deaf();
  boundCollecting(other, ending);
  ending.hurry();
  expect(other.signals).toEqual(["SIGKILL"]);
});

test("a worker that leaves ends a grace and a collecting that were under way, in a hurry or not", () => {
  stopOn(ending, sandbox, 1_000);
  ending.because({ kind: "timed_out", clock: "run", limitMs: 1 });
  ending.abandon();
  expect(sandbox.signals).toEqual(["SIGTERM", "SIGKILL"]);
  expect(ending.reason?.kind).toBe("timed_out");
  const [forced, hurried] = [new Deaf(), new Ending()];
  hurried.hurry();
  const stop = stopOn(hurried, forced, 1_000);
  hurried.because({ kind: "cancelled" });
  stop();
  boundCollecting(forced, hurried);
  expect(forced.signals).toEqual(["end"]);
  hurried.abandon();
  expect(forced.signals).toEqual(["end", "SIGKILL"]);
});

test("what begins once the worker leaves is killed at once, and collects nothing", () => {
  ending.abandon();
  stopOn(ending, sandbox, 1_000);
  expect(sandbox.signals).toEqual(["SIGKILL"]);
  const other = new Deaf();
  boundCollecting(other, ending);
  expect(other.signals).toEqual(["SIGKILL"]);
});

test("a tar that stays open though its container is dead is not waited for", () => {
  sandbox.kill = () => void sandbox.signals.push("SIGKILL");
  sandbox.artifacts?.on("error", () => {});
  boundCollecting(sandbox, ending);
  vi.advanceTimersByTime(ARTIFACT_BOUNDS.collectMs);
  expect([sandbox.signals, sandbox.artifacts?.destroyed]).toEqual([["SIGKILL"], false]);
  vi.runAllTimers();
  expect(sandbox.artifacts?.errored?.message).toBe("out of time");
});

test("what has been collected, and what has nothing to collect, is left alone", () => {
  boundCollecting(sandbox, ending)();
  const none = new FakeSandbox();
  boundCollecting(none, ending);
  ending.hurry();
  vi.runAllTimers();
  expect([sandbox.signals, none.signals]).toEqual([[], []]);
});
