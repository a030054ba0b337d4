// Commands that fetch packages or pack large images: longer than infra/command.ts allows, and still not for ever.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { PLAIN_ENVIRONMENT } from "../../infra/settings.ts";

const SETUP = join(import.meta.dirname, "../../infra/setup.sh");
/** Some 300 MB are fetched for the peers, and another installation may have to be waited for. */
const LIMIT_MS = 20 * 60_000;
const MAX_STDERR = 2_000;

/** Resolves when it has exited 0; rejects with the end of what it wrote to stderr. */
export function runLong(argv: readonly [string, ...string[]], options: { cwd?: string } = {}): Promise<void> {
  const [program, ...args] = argv;
  const env = { ...PLAIN_ENVIRONMENT, DEBIAN_FRONTEND: "noninteractive" };
  const child = spawn(program, args, { ...options, env, stdio: ["ignore", "ignore", "pipe"], timeout: LIMIT_MS });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-MAX_STDERR);
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Error(`${argv.slice(0, 3).join(" ")} ended with ${signal ?? code}: ${stderr.trim()}`)),
    );
  });
}

/** Installs the engines that Mayfly is measured against, by the project's own set-up: it starts none of their services. */
export function installPeers(): Promise<void> {
  const child = spawn("sh", [SETUP, "--with-peers"], { stdio: "inherit", timeout: LIMIT_MS });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error("the peers could not be installed"))));
  });
}
