// Builds a program of test/native against the launcher's own sources, with AddressSanitizer and UndefinedBehaviorSanitizer.

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { ROOT } from "./process.ts";

const FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fsanitize=address,undefined"];

/** Path of the program, in a directory of its own. `sources` are of runtime/launcher; `flags` come last. */
export async function buildNative(name: string, sources: readonly string[], flags: readonly string[] = []) {
  const program = join(await mkdtemp(join(tmpdir(), "mayfly-native-")), name);
  const files = [
    join(ROOT, "test/native", `${name}.c`),
    ...sources.map((source) => join(ROOT, "runtime/launcher", source)),
  ];
  await runProgram(["cc", ...FLAGS, "-fno-sanitize-recover=all", "-o", program, ...files, ...flags]);
  return program;
}

export interface Said {
  readonly exitCode: number;
  readonly stdout: string;
  /** What a sanitizer has to say, if anything. */
  readonly stderr: string;
}

export async function runNative(program: string, ...args: readonly string[]): Promise<Said> {
  const child = startProcess([program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stdout: Buffer.concat(chunks).toString("utf8"), stderr: stderrTail };
}
