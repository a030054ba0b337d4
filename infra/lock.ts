// One stack a state directory. The lock is an abstract Unix socket: it needs no clean-up, as it dies with its holder, and who
// connects to it is told the holder's pid.

import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { connect, createServer } from "node:net";

/** How long the holder may take to tell its pid: it is busy at most. */
const ASK_MS = 1_000;

export interface Lock {
  release(): void;
}

/** Takes the directory, which must exist, or rejects with who has it. */
export async function lockDirectory(directory: string): Promise<Lock> {
  const address = addressOf(directory);
  const server = createServer((socket) => {
    socket.on("error", () => {}); // Whoever asked no longer waits for the answer.
    socket.end(String(process.pid));
  });
  const taken = await new Promise<boolean>((resolve, reject) => {
    server.once("listening", () => resolve(false));
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(true) : reject(error),
    );
    server.listen(address);
  });
  if (taken) throw new Error(`${directory} is in use ${await holder(address)}, or choose another MAYFLY_STATE_DIR`);
  server.unref();
  return { release: () => void server.close() };
}

/** The name is no longer than 107 bytes, whatever the directory's is. */
function addressOf(directory: string): string {
  return `\0mayfly-stack:${createHash("sha256").update(realpathSync(directory)).digest("hex")}`;
}

async function holder(address: string): Promise<string> {
  const pid = await new Promise<string>((resolve) => {
    let text = "";
    const socket = connect(address)
      .setEncoding("utf8")
      .setTimeout(ASK_MS, () => socket.destroy());
    socket.on("data", (part: string) => {
      text += part;
    });
    socket.on("error", () => {}); // It has just gone: `close` follows.
    socket.on("close", () => resolve(text));
  });
  return pid === "" ? "by another stack: wait for its end" : `by another stack: stop it with \`kill ${pid}\``;
}
