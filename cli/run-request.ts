// From the words of `mayfly run` to the request that the API takes. Pure but for the env files, which are handed in.

import { describeIssues } from "../core/issues.ts";
import { RunRequest } from "../core/request.ts";
import { DOCKER_SIZE_FORM, parseDockerSize } from "./docker-size.ts";
import { type Env, readEnvironment } from "./environment.ts";
import type { Flags } from "./flags.ts";
import { FLAG_OF_FIELD, type RUN_FLAGS } from "./run-flags.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

export type RunFlags = Flags<typeof RUN_FLAGS>;

/** A session lasts as long as its person stays, within reason; and all that it shows is output. */
const TERMINAL_DEFAULTS = { timeout: "1h", output: "16MiB" } as const;

export interface Caller {
  readonly env: Env;
  readonly readFile: (path: string) => string;
  readonly terminal: Pick<Terminal, "isInput" | "isOutput" | "size">;
}

/** Throws UsageError that names the flag of each problem, so that nothing impossible is sent. */
export function buildRequest(
  flags: RunFlags,
  operands: readonly string[],
  caller: Caller,
  brought: Pick<RunRequest, "files" | "upload"> = {},
): RunRequest {
  const [image, ...command] = operands;
  if (image === undefined) throw new UsageError("an IMAGE is needed");
  if (flags.detach && flags.interactive) {
    throw new UsageError("-d and -i exclude each other: once detached, nobody is left to send the input");
  }
  if (flags.tty) checkTerminal(flags, caller.terminal);
  return checkRequest({
    image,
    pull: flags.pull,
    ...programOf(flags.entrypoint, command),
    env: nonEmpty(readEnvironment(flags.env, readFiles(flags["env-file"], caller), caller.env)),
    secretEnv: nonEmpty(readSecretEnv(flags["secret-env"])),
    workdir: flags.workdir,
    user: flags.user,
    stdin: flags.interactive ? { stream: true } : undefined,
    terminal: flags.tty ? caller.terminal.size() : undefined,
    artifacts: artifactsOf(flags),
    limits: nonEmpty(limitsOf(flags)),
    timeouts: nonEmpty({ queue: flags["queue-timeout"], run: timeoutOf(flags), grace: flags.grace }),
    network: flags.network,
    ...brought,
    retries: numberOf("--retries", flags.retries),
    retry: retryOf(flags),
    delay: flags.delay,
    notBefore: flags["not-before"],
    concurrency: concurrencyOf(flags.concurrency),
    priority: numberOf("--priority", flags.priority),
    labels: nonEmpty(readLabels(flags.label)),
    pool: flags.pool,
    webhook: flags.webhook === undefined ? undefined : { url: flags.webhook },
  });
}

function checkTerminal(flags: RunFlags, terminal: Caller["terminal"]): void {
  const { detach, interactive } = flags;
  for (const name of ["file", "upload", "upload-id"] as const)
    if (flags[name]?.length)
      throw new UsageError(`-t and --${name} exclude each other: files come by a pipe, where a terminal has its keys`);
  if (detach) throw new UsageError("-d and -t exclude each other: once detached, nobody is left at the terminal");
  if (interactive && !terminal.isInput)
    throw new UsageError("the input device is not a TTY: -t with -i needs a terminal");
  if (!terminal.isOutput) throw new UsageError("the output device is not a TTY: -t needs a terminal");
}

/** Retries say how often in all; what else is said of them means nothing without. */
function retryOf(flags: RunFlags): object | undefined {
  const { retry, "retry-on": on, "retry-delay": delay } = flags;
  if (retry === undefined) {
    if (on.length > 0 || delay !== undefined)
      throw new UsageError(
        "--retry-on and --retry-delay need --retry NUMBER, which says how many attempts there may be",
      );
    return undefined;
  }
  return {
    attempts: numberOf("--retry", retry),
    on: on.length === 0 ? undefined : on.flatMap((kinds) => kinds.split(",")),
    backoff: delay === undefined ? undefined : { initial: delay },
  };
}

/** `customer-17:2`; a key may have a colon, too. */
function concurrencyOf(text: string | undefined): object | undefined {
  if (text === undefined) return undefined;
  const [, key, max] = /^(.+):(\d{1,9})$/s.exec(text) ?? [];
  if (key === undefined)
    throw new UsageError(`--concurrency ${JSON.stringify(text)} is not KEY:MAX, such as customer-17:2`);
  return { key, max: Number(max) };
}

function timeoutOf({ timeout, tty }: RunFlags): string | undefined {
  return timeout ?? (tty ? TERMINAL_DEFAULTS.timeout : undefined);
}

/** An empty `--entrypoint` is docker's way to do without the image's: then the command says which program it is. */
function programOf(entrypoint: string | undefined, command: readonly string[]): object {
  if (entrypoint !== "") {
    return { entrypoint: entrypoint === undefined ? undefined : [entrypoint], command: nonEmptyList(command) };
  }
  if (command.length === 0) throw new UsageError('--entrypoint "" needs a COMMAND after IMAGE');
  return { entrypoint: command.slice(0, 1), command: nonEmptyList(command.slice(1)) };
}

function artifactsOf(flags: RunFlags): object | undefined {
  const max = sizeOf("--artifacts-max", flags["artifacts-max"]);
  if (flags.artifact.length > 0) return { paths: flags.artifact, max };
  if (max !== undefined) throw new UsageError("--artifacts-max is of use with --artifact alone");
  return undefined;
}

function limitsOf(flags: RunFlags): Record<string, unknown> {
  return {
    cpus: numberOf("--cpus", flags.cpus),
    memory: sizeOf("--memory", flags.memory),
    pids: numberOf("--pids-limit", flags["pids-limit"]),
    disk: sizeOf("--disk", flags.disk),
    output: sizeOf("--output-limit", flags["output-limit"]) ?? (flags.tty ? TERMINAL_DEFAULTS.output : undefined),
  };
}

function readFiles(paths: readonly string[], caller: Caller): { path: string; text: string }[] {
  return paths.map((path) => {
    try {
      return { path, text: caller.readFile(path) };
    } catch (error) {
      throw new UsageError(`--env-file ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
}

/** `build=17` or, with an empty value, `nightly`. */
function readLabels(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const equals = entry.indexOf("=");
      return equals === -1 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

/** `TOKEN=api-token`, or `TOKEN` where the secret has the variable's name. */
function readSecretEnv(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const equals = entry.indexOf("=");
      return equals === -1 ? [entry, entry] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

function numberOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^(\d{1,15}(\.\d{1,9})?|\.\d{1,9})$/.test(text)) {
    throw new UsageError(`${flag} ${JSON.stringify(text)} is not a number such as 2 or 0.5`);
  }
  return Number(text);
}

function sizeOf(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const size = parseDockerSize(text);
  if (size === undefined) throw new UsageError(`${flag} ${JSON.stringify(text)} is not ${DOCKER_SIZE_FORM}`);
  return size;
}

/** More at once would only scroll away what comes first. */
const MAX_PROBLEMS = 20;

function checkRequest(draft: Record<string, unknown>): RunRequest {
  const checked = RunRequest.safeParse(JSON.parse(JSON.stringify(draft)));
  if (checked.success) return checked.data;
  const problems = describeIssues(checked.error, MAX_PROBLEMS).map(({ path, message }) => `${flagOf(path)} ${message}`);
  throw new UsageError(problems.join("\n"));
}

/** `["limits", "memory"]` → `--memory`; what is deeper (`["env", "A"]`) is shown after its flag. */
function flagOf(path: readonly string[]): string {
  const two = FLAG_OF_FIELD[path.slice(0, 2).join(".")];
  return two ?? [FLAG_OF_FIELD[path[0] ?? ""] ?? path[0], ...path.slice(1)].join(" ");
}

function nonEmpty<T extends object>(value: T): T | undefined {
  return Object.values(value).some((item) => item !== undefined) ? value : undefined;
}

function nonEmptyList(list: readonly string[]): readonly string[] | undefined {
  return list.length === 0 ? undefined : list;
}
