import { expect, test } from "vitest";
import {
  CODES,
  type ErrorReason,
  isErrno,
  isMayflyError,
  MayflyError,
  REASONS,
  toMayflyError,
} from "../../../core/errors.ts";

const reasons = Object.keys(REASONS) as ErrorReason[];

test.each(reasons)("%s belongs to a code that exists, and says something in a sentence", (reason) => {
  expect(CODES).toContain(new MayflyError(reason, "").code);
  expect(REASONS[reason].says).toMatch(/^[A-Z].*\.$/);
});

test("an error of another copy of the module is recognised", () => {
  const foreign = Object.assign(new Error("x"), { [Symbol.for("mayfly.error")]: true });
  expect(isMayflyError(foreign)).toBe(true);
});

test.each([null, undefined, "text", 1, new Error("x"), { reason: "bug" }])("%j is no error of ours", (value) => {
  expect(isMayflyError(value)).toBe(false);
});

test("whatever else is thrown is a bug, its message and cause kept", () => {
  const thrown = new TypeError("x is not a function");
  expect(toMayflyError(thrown)).toMatchObject({
    reason: "bug",
    code: "internal",
    message: thrown.message,
    cause: thrown,
  });
  expect(toMayflyError("text")).toMatchObject({ reason: "bug", message: "text" });
});

test("an error of ours is passed on as it is", () => {
  const error = new MayflyError("queue_full", "full");
  expect(toMayflyError(error)).toBe(error);
});

test("an errno error is recognised by its code, and by no other", () => {
  const error = Object.assign(new Error("x"), { code: "ENOENT" });
  expect([isErrno(error, "EACCES", "ENOENT"), isErrno(error, "EACCES"), isErrno({ code: "ENOENT" }, "ENOENT")]).toEqual(
    [true, false, false],
  );
});
