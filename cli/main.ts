#!/usr/bin/env node
// The process around the `mayfly` command: the one file of cli/ that touches `process`.

import { accessSync, createReadStream, readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { userInfo } from "node:os";
import { join } from "node:path";
import { isatty } from "node:tty";
import type { Io } from "./io.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

keepCompiled();
// Only what is imported after that is kept.
const [{ program }, { createNewFile }, { createSink }, { createTerminal }, { VERSION }] = await Promise.all([
  import("./program.ts"),
  import("./new-file.ts"),
  import("./sink.ts"),
  import("./terminal.ts"),
  import("../core/version.ts"),
]);

const terminal = createTerminal({
  isInput: isatty(0),
  isOutput: isatty(1),
  stdin: () => process.stdin,
  stdout: process.stdout,
});
// Whatever ends this process, an error that nobody has foreseen included.
process.on("exit", () => terminal.setRaw(false));

const io: Io = {
  env: process.env,
  stdin: () => process.stdin,
  stdout: createSink(process.stdout),
  stderr: createSink(process.stderr),
  terminal,
  fetch: globalThis.fetch,
  readFile: (path) => readFileSync(path, "utf8"),
  openFile: (path) => createReadStream(path),
  createFile: createNewFile,
  version: VERSION,
  onSignal(listener) {
    for (const signal of SIGNALS) process.on(signal, listener);
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
  },
  async handOver(program, args) {
    accessSync(program);
    // It is the same process from there on, so that nothing is to be passed to and fro.
    process.execve?.(process.execPath, [process.execPath, "--", program, ...args], process.env);
    throw new Error("this system cannot execute one program in the place of another");
  },
  exitNow: (exitCode) => process.exit(exitCode),
};

process.exitCode = await program(process.argv.slice(2), io);

/**
 * Compiled sources are kept in `~/.cache/mayfly`, which takes more than half off the time that the command needs to start.
 * The home is the one of the user that this process is, not `$HOME`: whoever can write there has their code run here.
 */
function keepCompiled(): void {
  try {
    enableCompileCache(join(userInfo().homedir, ".cache", "mayfly"));
  } catch {
    // A user without an entry in the password database has no home, and waits a little longer.
  }
}
