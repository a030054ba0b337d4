import { expect, test } from "vitest";
import { MayflyError } from "../../../core/errors.ts";
import { createLog, SILENT } from "../../../core/log.ts";

function capture(base = {}) {
  const lines: string[] = [];
  return { log: createLog(base, (line) => lines.push(line)), lines };
}

const only = (lines: string[]) => JSON.parse(lines[0] ?? "");

test("an event is one line of JSON, with when it was, its level, its name and where it came from", () => {
  const { log, lines } = capture({ process: "gateway" });
  log.warn("run.overdue", { run: "run_1", text: "two\nlines" });
  expect(lines).toHaveLength(1);
  expect(lines[0]?.split("\n")).toHaveLength(2); // The one line end is the line's own.
  expect(only(lines)).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    level: "warn",
    event: "run.overdue",
    process: "gateway",
    run: "run_1",
    text: "two\nlines",
  });
});

test("an error of ours becomes its reason, message, details and the message of its cause, without a stack", () => {
  const { log, lines } = capture();
  const error = new MayflyError("image_corrupt", "sha256 differs", {
    details: { digest: "sha256:1" },
    cause: new Error("short read"),
  });
  log.error("pull.failed", { error });
  expect(only(lines).error).toEqual({
    reason: "image_corrupt",
    message: "sha256 differs",
    digest: "sha256:1",
    cause: "short read",
  });
  expect(lines[0]).not.toContain(".ts:");
});

test("any other error becomes its name and message, without a stack", () => {
  const { log, lines } = capture();
  log.error("x", { error: new TypeError("no") });
  expect(only(lines).error).toEqual({ name: "TypeError", message: "no" });
});

test("numbers that JSON does not know do not fail the line", () => {
  const { log, lines } = capture();
  log.info("x", { big: 10n });
  expect(only(lines)).toMatchObject({ level: "info", big: 10 });
});

test("the silent log takes everything and says nothing", () => {
  expect([SILENT.info("x"), SILENT.warn("x"), SILENT.error("x")]).toEqual([undefined, undefined, undefined]);
});
