// Docker's credential helpers: programs that hold logins, or make them, such as Amazon's short-lived ones.
//
//   $ echo 123.dkr.ecr.eu-west-1.amazonaws.com | docker-credential-ecr-login get
//   {"ServerURL": "…", "Username": "AWS", "Secret": "…"}       and for an OAuth2 refresh token the user name <token>
//
// The protocol: github.com/docker/docker-credential-helpers, README. A helper without a login for the server exits with a sentence
// that begins "credentials not found". It is given the home of our user and the search path, and nothing else of our environment.

import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { type Finished, finished, SEARCH_PATH, startProcess } from "../host/command.ts";
import { DEFAULT_HOST } from "../image/reference.ts";
import { SingleFlight } from "../layer/single-flight.ts";
import { basicLogin, isBasicPair, type Login } from "./login.ts";
import { Until } from "./until.ts";

export interface HelperOptions {
  /** Directories separated by colons, where helpers are looked for; Debian's own search path without it. */
  readonly searchPath?: string;
  /** One that asks a cloud for a token takes a second or two. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 20_000;

/** A login is a few kilobytes at most (Amazon's tokens have two). */
const MAX_OUTPUT_BYTES = 64 * 1024;

/** An answer serves this long: shorter than any login lives that a helper makes, and long enough for a burst of pulls. */
const CACHE_MS = 300_000;

/** Registries whose answers are kept; the oldest goes first. */
const MAX_CACHED = 256;

const ANSWER = z.object({ Username: z.string(), Secret: z.string().min(1) });

export interface HelperPrograms {
  /**
   * What `docker-credential-<name>` has for this registry; undefined if it has nothing. Callers at the same time share one process.
   * `host_unavailable`, naming the helper, if it is not there, fails, takes too long or answers nonsense; never with what it printed
   * to stdout, and what it printed to stderr only as the cause, which callers of other processes are not told.
   */
  get(name: string, host: string, signal: AbortSignal): Promise<Login | undefined>;
  forget(host: string): void;
}

export function createHelpers(options: HelperOptions = {}): HelperPrograms {
  const { searchPath = SEARCH_PATH, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const flights = new SingleFlight<Login | undefined>();
  const fresh = new Until();
  const cache = new Map<string, Login | undefined>();

  async function ask(name: string, host: string, signal: AbortSignal): Promise<Login | undefined> {
    const program = await find(`docker-credential-${name}`, searchPath);
    const login = await run(program, { host, searchPath, timeoutMs, signal });
    cache.delete(host);
    cache.set(host, login);
    fresh.set(host, CACHE_MS);
    for (const oldest of cache.keys()) if (cache.size > MAX_CACHED) cache.delete(oldest);
    return login;
  }

  return {
    async get(name, host, signal) {
      if (cache.has(host) && fresh.leftMs(host) > 0) return cache.get(host);
      return flights.join(`${name} ${host}`, signal, (shared) => ask(name, host, shared)).result;
    },
    forget: (host) => void cache.delete(host),
  };
}

async function find(name: string, searchPath: string): Promise<string> {
  for (const directory of searchPath.split(":")) {
    const path = join(directory, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  throw broken(name, `there is no such program in ${searchPath}`);
}

interface Asking {
  readonly host: string;
  readonly searchPath: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

async function run(program: string, { host, searchPath, timeoutMs, signal }: Asking): Promise<Login | undefined> {
  signal.throwIfAborted();
  const env = { PATH: searchPath, HOME: userInfo().homedir };
  // A group of its own, so that what the helper has started ends with it.
  const child = startProcess([program, "get"], { stdio: ["pipe", "pipe", "pipe"], env, detached: true });
  let why: string | undefined;
  const giveUp = (reason: string) => {
    why ??= reason;
    killGroup(child.pid);
    // What has left the group, a daemon of the helper's, may hold the pipes open for ever.
    for (const pipe of [child.stdout, child.stderr]) pipe?.destroy();
  };
  const abort = () => giveUp("nobody waits for it any more");
  const timer = setTimeout(() => giveUp(`it has not answered within ${timeoutMs} ms`), timeoutMs);
  signal.addEventListener("abort", abort, { once: true });
  const output = collect(child, () => giveUp(`it printed more than ${MAX_OUTPUT_BYTES} bytes`));
  child.stdin?.on("error", () => {}); // One that does not read its input may still answer.
  child.stdin?.end(`${serverUrl(host)}\n`);
  try {
    const end = await finished(child);
    signal.throwIfAborted();
    if (why !== undefined) throw broken(program, why);
    return loginOf(program, end, output());
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

function collect(child: ReturnType<typeof startProcess>, tooMuch: () => void): () => string {
  const parts: Buffer[] = [];
  let size = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_OUTPUT_BYTES) tooMuch();
    else parts.push(chunk);
  });
  return () => Buffer.concat(parts).toString("utf8");
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** Docker Hub goes by its oldest name, in helpers as in files. */
function serverUrl(host: string): string {
  return host === DEFAULT_HOST ? "https://index.docker.io/v1/" : host;
}

function loginOf(program: string, { exitCode, stderrTail }: Finished, text: string): Login | undefined {
  if (exitCode !== 0 && /^credentials not found/.test(text)) return undefined;
  if (exitCode !== 0) throw broken(program, `it exited with ${exitCode}`, new Error(stderrTail.trim()));
  const { Username: user, Secret: secret } = ANSWER.safeParse(parseJson(text)).data ?? { Username: "", Secret: "" };
  if (user === "<token>") return { kind: "identity", refreshToken: secret };
  if (!isBasicPair(user, secret)) throw broken(program, "it answered no user name and secret in JSON");
  return basicLogin(user, secret);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema refuses it, with a message that quotes nothing.
  }
}

function broken(helper: string, why: string, cause?: Error): MayflyError {
  return new MayflyError("host_unavailable", `credential helper ${helper}: ${why}`, { cause, details: { helper } });
}
