// Runs a program to its end. Only its failure is of interest, and then what it said.

import { execFile } from "node:child_process";
import { PLAIN_ENVIRONMENT } from "./settings.ts";

/** Making or pushing the small image takes a second; a disk or registry that is stuck must not hold the user for ever. */
const LIMIT_MS = 60_000;

/** Resolves with what the program wrote to stdout. Rejects, with what it wrote to stderr, unless it exits 0. */
export function run(argv: readonly [string, ...string[]]): Promise<string> {
  const [program, ...args] = argv;
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      { env: PLAIN_ENVIRONMENT, timeout: LIMIT_MS, killSignal: "SIGKILL" },
      (error, stdout, stderr) => {
        if (error) reject(new Error(`${argv.join(" ")} failed: ${stderr.trim() || error.message}`, { cause: error }));
        else resolve(stdout);
      },
    );
  });
}
