// The frame parser under libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer, for a bounded time and from real frames.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { finished, runProgram, startProcess } from "../../../../runtime/host/command.ts";
import { encodeFrame, encodeResize, encodeU32, encodeU64, FRAME } from "../../../../runtime/launcher/protocol.ts";
import { runFrame } from "./run-frame.ts";

const RUNTIME = join(import.meta.dirname, "../../../../runtime");
const SECONDS = 10;

/** A frame of every kind that a worker sends, alone and one after the other, whole and cut. */
function corpus(): Buffer[] {
  const run = runFrame();
  const frames = [
    encodeU64(FRAME.PREPARE, 5_000),
    run,
    runFrame({ terminal: { rows: 24, columns: 80 }, layers: ["/a", "/b"], env: [] }),
    runFrame({ artifacts: { patterns: ["/out", "/work/*.txt"], maxBytes: 4_096, maxFiles: 10 } }),
    encodeFrame(FRAME.STDIN, Buffer.from("typed")),
    encodeFrame(FRAME.STDIN),
    encodeU32(FRAME.CREDIT, 65_536, 1),
    encodeU64(FRAME.DEADLINE, 8_000),
    encodeU32(FRAME.SIGNAL, 15),
    encodeResize(50, 132),
    ...[FRAME.KILL, FRAME.RELEASE, FRAME.STATUS, FRAME.RESET].map((type) => encodeFrame(type)),
  ];
  return [...frames, Buffer.concat(frames), run.subarray(0, 40), run.subarray(0, -1)];
}

it(`reads nothing past what it was given, and answers nothing that is not there, in ${SECONDS} s`, {
  timeout: 600_000,
}, async () => {
  await runProgram(["make", "-C", RUNTIME, "fuzz"]);
  const directory = await mkdtemp(join(tmpdir(), "mayfly-fuzz-"));
  await Promise.all(corpus().map((bytes, i) => writeFile(join(directory, `frame-${i}`), bytes)));
  const flags = [
    `-max_total_time=${SECONDS}`,
    "-max_len=4096",
    "-print_final_stats=1",
    `-artifact_prefix=${directory}/`,
  ];
  const child = startProcess([join(RUNTIME, "build/fuzz-frame"), ...flags, directory], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const { exitCode, stderrTail } = await finished(child);
  expect({ exitCode, stderrTail: exitCode === 0 ? "" : stderrTail }).toEqual({ exitCode: 0, stderrTail: "" });
  // That it ran at all: the figure is told by the fuzzer itself.
  expect(Number(stderrTail.match(/number_of_executed_units:\s*(\d+)/)?.[1])).toBeGreaterThan(1_000);
  await rm(directory, { recursive: true });
});
