// Unit tests first, side by side; then two by two those that have a Redis, ports and directories of their own; and one file at a time those of
// whole stacks, which look at all that a machine has of Mayfly.

import { defineConfig } from "vitest/config";
import { ClosingLine } from "./infra/closing-line.ts";
import { FailOnSkip } from "./infra/fail-on-skip.ts";

/** Only so that what hangs is told at all: no test is about time, and a machine that is busy with other things may take many times as long. */
const limits = { testTimeout: 120_000, hookTimeout: 120_000 };
const isCI = Boolean(process.env.CI);

export default defineConfig({
  test: {
    pool: "forks",
    reporters: ["default", ...(isCI ? [new FailOnSkip()] : []), new ClosingLine()],
    // The groups are numbered from 1: whatever has one worker in group 0 is put after all others.
    projects: [
      {
        test: {
          ...limits,
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          maxWorkers: "100%",
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...limits,
          name: "apart",
          include: ["test/integration/**/*.test.ts", "test/contract/**/*.test.ts"],
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...limits,
          name: "whole",
          include: ["test/**/*.test.ts"],
          exclude: ["test/unit/**", "test/integration/**", "test/contract/**"],
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
