// The real gateway for tests: gateway/main.ts as a process of its own, on a free port of the loopback interface.
//
//   const gateway = await startGateway({ redisUrl: redis.url });
//   const answer = await gateway.fetch("/v1/runs", { method: "POST", … });
//   await gateway.stop();
//
// With keys:
//
//   const gateway = await startGateway({ redisUrl, keys: { acme: "secret" }, env: { MAYFLY_MAX_QUEUED: "5" } });
//   await gateway.fetch("/v1/runs", { headers: { authorization: "Bearer secret" } });

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const MAIN = join(import.meta.dirname, "../../gateway/main.ts");

/** One wide event of the gateway's log. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface GatewayOptions {
  readonly redisUrl: string;
  /** Key of each tenant, in the clear. Without it everybody on loopback is the default tenant. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Likewise, of operators. */
  readonly operators?: Readonly<Record<string, string>>;
  /** More settings, such as `MAYFLY_MAX_QUEUED`. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Gateway {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly pid: number;
  /** What it has logged so far; the lines go on coming. */
  readonly log: readonly LogLine[];
  /** The first line of an event, that was or will be logged. */
  logged(event: string): Promise<LogLine>;
  /** `fetch` of a path. Connections are not kept, so that none is left when the gateway stops. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Sends a signal, and answers the exit code once the process has ended and its files are removed. Idempotent. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Resolves when the gateway listens, whether or not Redis is there; rejects with its log if it ends instead. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-gateway-"));
  const child = spawn(process.execPath, [MAIN], {
    env: { PATH: process.env.PATH, ...(await settings(directory, options)), ...options.env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  const closed = once(child, "close").then(async () => {
    process.off("exit", end);
    await rm(directory, { recursive: true, force: true });
    return child.exitCode;
  });
  const { log, logged } = readLog(child);
  const died = closed.then((code) => {
    throw new Error(
      `the gateway ended with ${code} before it listened:\n${log.map((l) => JSON.stringify(l)).join("\n")}`,
    );
  });
  died.catch(() => undefined); // Later it ends because it is stopped.
  const url = String((await Promise.race([logged("gateway.listening"), died])).url);
  return {
    url,
    pid: Number(child.pid),
    log,
    logged,
    fetch: (path, init = {}) => {
      const headers = new Headers(init.headers);
      headers.set("connection", "close");
      return fetch(`${url}${path}`, { ...init, headers });
    },
    stop(signal = "SIGTERM") {
      child.kill(signal);
      return closed;
    },
  };
}

async function settings(
  directory: string,
  { redisUrl, keys, operators }: GatewayOptions,
): Promise<Record<string, string>> {
  const redisFile = join(directory, "redis-url");
  await writeFile(redisFile, `${redisUrl}\n`, { mode: 0o600 });
  const env = { MAYFLY_LISTEN_PORT: "0", MAYFLY_REDIS_URL_FILE: redisFile };
  if (!keys && !operators) return env;
  const keysFile = join(directory, "api-keys");
  const linesOf = (of: Readonly<Record<string, string>> = {}, word = "") =>
    Object.entries(of).map(([tenant, key]) => `${tenant} ${createHash("sha256").update(key).digest("hex")}${word}`);
  const lines = [...linesOf(keys), ...linesOf(operators, " operator")];
  await writeFile(keysFile, `${["# TENANT SHA256", ...lines].join("\n")}\n`, { mode: 0o600 });
  return { ...env, MAYFLY_API_KEYS_FILE: keysFile };
}

function readLog(child: ChildProcess): { log: LogLine[]; logged: (event: string) => Promise<LogLine> } {
  if (!child.stdout) throw new Error("the gateway has no stdout");
  const log: LogLine[] = [];
  let waiting: { event: string; resolve: (line: LogLine) => void }[] = [];
  createInterface({ input: child.stdout }).on("line", (text) => {
    const line = parseLine(text);
    log.push(line);
    for (const waiter of waiting) if (waiter.event === line.event) waiter.resolve(line);
    waiting = waiting.filter(({ event }) => event !== line.event);
  });
  const logged = (event: string) => {
    const seen = log.find((line) => line.event === event);
    if (seen) return Promise.resolve(seen);
    return new Promise<LogLine>((resolve) => waiting.push({ event, resolve }));
  };
  return { log, logged };
}

/** What is not a line of its log is kept as one, so that a test can find it there. */
function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { level: "none", event: "not json", text };
  }
}
