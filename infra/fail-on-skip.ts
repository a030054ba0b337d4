// In CI a test that does not run is a test that fails: what it needs is missing, and nobody would notice.

import { casesOf, type TestModule } from "./test-results.ts";

/** A reporter for vitest. Names each skipped test with its reason, and makes the run fail if there is one. */
export class FailOnSkip {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = casesOf(modules).filter((test) => test.result().state === "skipped");
    for (const test of skipped)
      process.stderr.write(`skipped: ${test.fullName}: ${test.result().note ?? "no reason given"}\n`);
    if (skipped.length === 0) return;
    process.stderr.write("CI runs every test; a skipped one is a failure\n");
    process.exitCode = 1;
  }
}
