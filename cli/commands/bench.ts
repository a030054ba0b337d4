// mayfly bench: the benchmark of loadtest/bench, by this command's name. Its flags, its help and its exit codes are its own.

import { join } from "node:path";
import { isErrno } from "../../core/errors.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { report } from "../report.ts";
import { UsageError } from "../usage-error.ts";

const BENCHMARK = join(import.meta.dirname, "../../loadtest/bench/main.ts");

export const bench: Command = {
  name: "bench",
  synopsis: "[FLAGS]",
  says: "Measures Mayfly, other engines and the kernel's own floor on this machine, in one run.",
  flags: {},
  examples: ["mayfly bench --quick", "mayfly bench --suite queue --json queue.json", "mayfly bench --help"],
  run: async (args, global, io) => {
    try {
      if (global.url !== undefined || global.context !== undefined || global.json)
        throw new UsageError("bench asks no gateway: there is no --url for it, and its own --json FILE comes after it");
      return await io.handOver(BENCHMARK, global.help ? ["--help"] : args);
    } catch (error) {
      const options = { io, json: global.json, usageExit: EXIT.usage, failureExit: EXIT.failed };
      return report(explain(error), { ...options, helpOf: "mayfly" });
    }
  },
};

/** A package may have been made without what measures it. */
function explain(error: unknown): unknown {
  if (!isErrno(error, "ENOENT")) return error;
  return new Error(`the benchmark is not installed here: it comes with Mayfly's source, as ${BENCHMARK}`);
}
