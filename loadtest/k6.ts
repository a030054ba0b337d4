// Starts k6 with one scenario and waits for its end. What it prints goes to the screen; its figures come back as JSON.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PLAIN_ENVIRONMENT } from "../infra/settings.ts";
import type { Load } from "./k6/scenarios.js";
import type { Exported } from "./summary.ts";

const PROJECT = join(import.meta.dirname, "..");
const PROGRAM = join(PROJECT, ".tools/bin/k6");
const SCRIPT = join(import.meta.dirname, "k6/main.js");

/** k6 ends with this status when thresholds were crossed. */
const CROSSED = 99;
/** After the last arrival k6 waits 90 s for answers; then it has only to add up. */
const AFTER_MS = 150_000;

export interface K6Options {
  readonly url: string;
  readonly image: string;
  readonly name: string;
  readonly load: Load;
}

export class K6 {
  #child: ChildProcess | undefined;

  /** Installs k6 if it is missing. It says itself what it does. */
  static async install(): Promise<void> {
    const child = spawn("sh", [join(import.meta.dirname, "install-k6.sh")], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const code = await ended(child);
    if (code !== 0) throw new Error("k6 could not be installed");
  }

  /** Resolves with k6's figures, whether thresholds were crossed or not. Rejects if k6 failed. */
  async run(options: K6Options): Promise<Exported> {
    const work = mkdtempSync(join(tmpdir(), "mayfly-k6-"));
    const summaryFile = join(work, "summary.json");
    try {
      const code = await this.#run(options, summaryFile);
      if ((code !== 0 && code !== CROSSED) || !existsSync(summaryFile))
        throw new Error(`k6 failed with status ${code}`);
      return JSON.parse(readFileSync(summaryFile, "utf8"));
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }

  /** Ends k6 if it is running. */
  stop(): void {
    this.#child?.kill("SIGKILL");
  }

  async #run(options: K6Options, summaryFile: string): Promise<number | string> {
    const progress = process.stdout.isTTY ? [] : ["--quiet"];
    const flags = ["--no-usage-report", "--address", "", "--summary-export", summaryFile, ...progress];
    // No extension is fetched, whatever a script imports.
    const env = { ...PLAIN_ENVIRONMENT, K6_AUTO_EXTENSION_RESOLUTION: "false", LOADTEST: JSON.stringify(options) };
    const argv = ["--pdeathsig", "KILL", "--", PROGRAM, "run", ...flags, SCRIPT];
    this.#child = spawn("/usr/bin/setpriv", argv, { env, stdio: ["ignore", "inherit", "inherit"], detached: true });
    const limit = setTimeout(() => this.stop(), options.load.durationS * 1000 + AFTER_MS);
    return ended(this.#child).finally(() => clearTimeout(limit));
  }
}

/** Its exit code, or the signal that ended it. */
function ended(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? signal ?? "unknown"));
  });
}
