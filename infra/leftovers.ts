// What a stack that was killed outright may have left running. Each process is recorded by its pid and the moment it was
// started, which together name one process and no other; the next stack of the state directory stops it first.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "./wait.ts";

/** Between SIGTERM and SIGKILL. Nobody waits for the answers of such a process any more. */
const GRACE_MS = 10_000;

/** Remembers a process of this state directory, until it is forgotten. */
export function remember(directory: string, name: string, pid: number): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const startedAt = startOf(pid);
  if (startedAt) writeFileSync(join(directory, name), `${pid} ${startedAt}\n`, { mode: 0o600 });
}

export function forget(directory: string, name: string): void {
  rmSync(join(directory, name), { force: true });
}

/** Stops every process that is remembered and still there. Gives their names. */
export async function stopLeftovers(directory: string): Promise<string[]> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const stopped = await Promise.all(readdirSync(directory).map((name) => stopLeftover(directory, name)));
  return stopped.filter((name) => name !== undefined);
}

async function stopLeftover(directory: string, name: string): Promise<string | undefined> {
  const [pid = "", startedAt = ""] = readFileSync(join(directory, name), "utf8").trim().split(" ");
  const isThere = () => startedAt !== "" && startOf(Number(pid)) === startedAt;
  const found = isThere();
  if (found) await end(Number(pid), isThere);
  forget(directory, name);
  return found ? name : undefined;
}

async function end(pid: number, isThere: () => boolean): Promise<void> {
  const gone = async () => {
    if (isThere()) throw new Error(`process ${pid} is still there`);
  };
  process.kill(pid, "SIGTERM");
  await waitUntil(gone, { limitMs: GRACE_MS }).catch(async () => {
    process.kill(pid, "SIGKILL");
    await waitUntil(gone, { limitMs: GRACE_MS });
  });
}

/**
 * When the process was started, in clock ticks since boot; undefined if there is none, or only what is left of one.
 * The line is `PID (COMMAND) STATE …`, the command may hold anything, and the start is the 22nd field (proc(5)).
 */
function startOf(pid: number): string | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined; // No such process.
  }
}
