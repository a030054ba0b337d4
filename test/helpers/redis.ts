// A real Redis for tests: Debian's redis-server, on a free port of the loopback interface, in a directory of its own, set
// up as Mayfly wants it (append-only file, no eviction, no snapshots).
//
//   const redis = await startRedis();
//   …                                    // redis.url
//   await redis.restart();               // killed (SIGKILL) and started again: same port, same data
//   await redis.halt(); … await redis.resume();
//   await redis.stop();                  // ended, directory removed

import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const REDIS_SERVER = "/usr/bin/redis-server";
/** Somebody else may take the free port between our finding and Redis' taking it. */
const TRIES = 10;

/**
 * Below those that Linux gives to connections (32768 and up): one that is made while Redis is halted, and be it an attempt to reach it,
 * could be given its port, which would then not be free when it is to go on.
 */
const PORTS = { from: 20_000, below: 32_000 };

export interface RedisServer {
  /** `redis://127.0.0.1:PORT/0`. */
  readonly url: string;
  readonly port: number;
  /** Ends the server, SIGKILL unless told otherwise, and leaves its data where it is. */
  halt(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again after `halt`, on the same port and data. Resolves when it serves. */
  resume(): Promise<void>;
  /** `halt` and `resume`. */
  restart(options?: { signal?: NodeJS.Signals }): Promise<void>;
  /** Ends the server and removes its data. Idempotent. */
  stop(): Promise<void>;
}

export interface RedisOptions {
  /** `always` if the test kills Redis and counts on every write that was answered; else one flush a second, as by default. */
  readonly fsync?: "always" | "everysec";
}

/** Resolves when the server serves. */
export async function startRedis({ fsync = "everysec" }: RedisOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-redis-"));
  const { port, child: first } = await launch(directory, fsync);
  let child: ChildProcess | undefined = first;

  const halt = async (signal: NodeJS.Signals = "SIGKILL") => {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const gone = once(ending, "close");
    ending.kill(signal);
    await gone;
  };
  const resume = async () => {
    child = await start(directory, port, fsync);
  };
  return {
    url: `redis://127.0.0.1:${port}/0`,
    port,
    halt,
    resume,
    async restart({ signal } = {}) {
      await halt(signal);
      await resume();
    },
    async stop() {
      await halt();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function launch(directory: string, fsync: string): Promise<{ port: number; child: ChildProcess }> {
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      return { port, child: await start(directory, port, fsync) };
    } catch (error) {
      if (tries === TRIES) throw error;
    }
  }
}

async function start(directory: string, port: number, fsync: string): Promise<ChildProcess> {
  const settings = ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", "", "--logfile", ""];
  const durable = ["--appendonly", "yes", "--appendfsync", fsync, "--maxmemory-policy", "noeviction"];
  const child = spawn(REDIS_SERVER, [...settings, ...durable], { stdio: ["ignore", "pipe", "inherit"] });
  // Whatever becomes of the test, its Redis does not outlive it.
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  child.once("close", () => process.off("exit", end));
  await serving(child);
  return child;
}

/** Redis says so in its log, after it has read its append-only file. The log must be read to its end, or Redis would stop at a full pipe. */
async function serving(child: ChildProcess): Promise<void> {
  if (!child.stdout) throw new Error("redis-server has no stdout");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const tail: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    tail.push(line);
    if (tail.length > 20) tail.shift();
    if (line.includes("Ready to accept connections")) resolve();
  });
  child.once("error", reject);
  child.once("close", () => reject(new Error(`redis-server ended before it served:\n${tail.join("\n")}`)));
  await promise;
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.below);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
