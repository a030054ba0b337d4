// Installs the engines that Mayfly is measured against, by the project's own set-up: it starts none of their services.

import { spawn } from "node:child_process";
import { join } from "node:path";

const SETUP = join(import.meta.dirname, "../../infra/setup.sh");
/** Some 300 MB are fetched, and another installation may have to be waited for. */
const LIMIT_MS = 20 * 60_000;

export function installPeers(): Promise<void> {
  const child = spawn("sh", [SETUP, "--with-peers"], { stdio: "inherit", timeout: LIMIT_MS });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error("the peers could not be installed"))));
  });
}
