// A run's events as they are printed, at a terminal and elsewhere.

import { describe, expect, it } from "vitest";
import type { Client, RunEvent } from "../../../cli/client.ts";
import type { Io } from "../../../cli/io.ts";
import { printRun } from "../../../cli/print-run.ts";

const CLEAR = "\r\u001b[K";
const PULLING = { layers: 2, layersDone: 1, bytes: 3 * 2 ** 20, size: 4 * 2 ** 20, bytesPerSecond: 2 ** 20 };
const EVENTS: readonly RunEvent[] = [
  { type: "state", state: "starting", attempt: 1 },
  { type: "progress", pulling: { ...PULLING, layers: 0, layersDone: 0 } },
  { type: "progress", pulling: PULLING },
  { type: "state", state: "running", attempt: 1 },
  { type: "stdout", attempt: 1, offset: 0, bytes: Buffer.from("hello") },
  { type: "end", id: "run_1", outcome: { kind: "exited", exitCode: 0 } } as RunEvent,
];

async function printed(isOutput: boolean, columns = 80): Promise<{ stdout: string; stderr: string }> {
  const written = { stdout: "", stderr: "" };
  const sink = (name: "stdout" | "stderr") => ({
    async write(bytes: string | Uint8Array) {
      written[name] += Buffer.from(bytes as string).toString();
    },
  });
  const io = {
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    terminal: { isOutput, size: () => ({ rows: 24, columns }) },
  } as unknown as Io;
  const followRun = async function* () {
    yield* EVENTS;
  };
  await printRun("run_1", { client: { followRun, getRun: async () => ({}) } as unknown as Client, io });
  return written;
}

describe("a run that waits for its image", () => {
  it("shows at a terminal, on one line that is gone before the program's output, how far it is", async () => {
    const { stdout, stderr } = await printed(true);
    expect(stdout).toBe("hello");
    expect(stderr).toBe(
      `${CLEAR}pulling: asking the registry${CLEAR}pulling: 1 of 2 layers, 3.0MiB of 4.0MiB, 1.0MiB/s${CLEAR}`,
    );
  });

  it("never fills more than a line", async () => {
    const { stderr } = await printed(true, 12);
    for (const line of stderr.split(CLEAR)) expect(line.length).toBeLessThan(12);
  });

  it("says nothing of it elsewhere", async () => {
    expect(await printed(false)).toEqual({ stdout: "hello", stderr: "" });
  });
});
