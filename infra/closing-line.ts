// The last line of a test run, in a form that any program can read: `12 passed, 1 failed`.

import { casesOf, type TestModule } from "./test-results.ts";

/** A reporter for vitest; the last in its list. */
export class ClosingLine {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    process.stdout.write(`${closingLine(modules, unhandledErrors.length)}\n`);
  }
}

/** A file that could not be loaded, and an error outside of any test, count as failed tests: they are never a success. */
export function closingLine(modules: readonly TestModule[], unhandledErrors: number): string {
  const states = casesOf(modules).map((test) => test.result().state);
  const count = (state: string) => states.filter((each) => each === state).length;
  const unloaded = modules.filter((module) => module.state() === "failed" && casesOf([module]).length === 0).length;
  const failed = count("failed") + unloaded + unhandledErrors;
  const skipped = count("skipped");
  return `${count("passed")} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
