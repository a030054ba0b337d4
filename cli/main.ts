#!/usr/bin/env node
// The process around the `mayfly` command: the one file of cli/ that touches `process`.

import { readFileSync } from "node:fs";
import { VERSION } from "../core/version.ts";
import type { Io } from "./io.ts";
import { program } from "./program.ts";
import { createSink } from "./sink.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const io: Io = {
  env: process.env,
  stdin: () => process.stdin,
  stdout: createSink(process.stdout),
  stderr: createSink(process.stderr),
  fetch: globalThis.fetch,
  readFile: (path) => readFileSync(path, "utf8"),
  version: VERSION,
  onSignal(listener) {
    for (const signal of SIGNALS) process.on(signal, listener);
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
  },
  exitNow: (exitCode) => process.exit(exitCode),
};

process.exitCode = await program(process.argv.slice(2), io);
