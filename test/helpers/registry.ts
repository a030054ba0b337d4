// A real registry for tests: Debian's docker-registry, on a free port of the loopback interface, in a directory of its own.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { type Finished, finished, runProgram, startProcess } from "../../runtime/host/command.ts";

type Child = ReturnType<typeof startProcess>;

export interface Login {
  readonly user: string;
  readonly password: string;
}

export interface RegistryRecipe {
  /** Who may come in, with Basic credentials; everybody without it. */
  readonly login?: Login;
  /** Paths of files in PEM; with `clientCa`, only who shows a certificate of it comes in. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly clientCa?: string };
  /** A directory for its content, which stays; without it, one that goes with the registry. */
  readonly storage?: string;
}

export interface Registry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** What a push has to send: `Authorization`, when there is a login. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the registry and removes its storage. Idempotent. */
  stop(): Promise<void>;
}

/** Resolves when the registry takes connections. */
export async function startRegistry(options: RegistryRecipe = {}): Promise<Registry> {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-registry-"));
  const configPath = join(directory, "config.yml");
  await writeFile(configPath, JSON.stringify(await configOf(directory, options))); // JSON is YAML.
  const child = startProcess(["/usr/bin/docker-registry", "serve", configPath], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = finished(child);
  const stop = async () => {
    child.kill("SIGTERM");
    await ended.catch(() => undefined); // It never started, which its starter has been told.
    await rm(directory, { recursive: true, force: true });
  };
  try {
    return { host: await listeningHost(child, ended), headers: headersOf(options.login), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function configOf(directory: string, { login, tls, storage }: RegistryRecipe): Promise<unknown> {
  const clientCas = tls?.clientCa === undefined ? {} : { clientcas: [tls.clientCa] };
  return {
    version: 0.1,
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage ?? join(directory, "storage") }, delete: { enabled: true } },
    http: {
      addr: "127.0.0.1:0",
      ...(tls ? { tls: { certificate: tls.certificate, key: tls.key, ...clientCas } } : {}),
    },
    ...(login ? { auth: { htpasswd: { realm: "test", path: await writePasswords(directory, login) } } } : {}),
  };
}

async function writePasswords(directory: string, { user, password }: Login): Promise<string> {
  const path = join(directory, "htpasswd");
  await writeFile(path, await runProgram(["htpasswd", "-Bbn", user, password]));
  return path;
}

function headersOf(login: Login | undefined): Record<string, string> {
  return login ? { authorization: `Basic ${Buffer.from(`${login.user}:${login.password}`).toString("base64")}` } : {};
}

/** The registry logs the port that the kernel gave it, once it listens. */
function listeningHost(child: Child, ended: Promise<Finished>): Promise<string> {
  return new Promise((resolve, reject) => {
    ended.then(({ stderrTail }) => reject(new Error(`the registry ended before it listened: ${stderrTail}`)), reject);
    createInterface({ input: child.stderr ?? Readable.from([]) }).on("line", (line) => {
      const host = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (host) resolve(host);
    });
  });
}
