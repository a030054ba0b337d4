// How the launcher keeps what a worker has not read yet.

import { expect, test } from "vitest";
import { buildNative, runNative } from "../../../helpers/native.ts";

test("a worker that reads slowly gets all there is, though it is never done with what is kept for it", async () => {
  const program = await buildNative("slow-reader", ["connection.c", "loop.c", "frame.c", "log.c"]);
  const { exitCode, stdout, stderr } = await runNative(program);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^(\d+) of \1\n$/);
  expect(exitCode).toBe(0);
});
