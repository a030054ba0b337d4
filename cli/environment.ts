// The environment of a run, from `-e` and `--env-file`, with docker's rules. Pure.

import { UsageError } from "./usage-error.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Files first and in order, then the flags, so that a flag always wins. `NAME` without a value takes the caller's, and is left out
 * if the caller has none.
 */
export function readEnvironment(
  flags: readonly string[],
  files: readonly { path: string; text: string }[],
  caller: Env,
): Record<string, string> {
  const fromFiles = files.flatMap(({ path, text }) => parseEnvFile(path, text));
  const fromFlags = flags.map((entry) => parseEntry(entry, "-e"));
  const env = new Map<string, string>();
  for (const [name, written] of [...fromFiles, ...fromFlags]) {
    const value = written ?? caller[name];
    if (value !== undefined) env.set(name, value);
  }
  return Object.fromEntries(env);
}

/**
 * A line an entry: `NAME=value`, the value as it stands (quotes are part of it), or `NAME`. Empty lines and lines that begin with `#`
 * are skipped. A byte order mark and CRLF line ends are no part of it.
 */
export function parseEnvFile(path: string, text: string): [name: string, value: string | undefined][] {
  return text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trimStart(), where: `${path}, line ${index + 1}` }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"))
    .map(({ line, where }) => parseEntry(line, where));
}

/** `A=b=c` → A, `b=c`. */
function parseEntry(entry: string, where: string): [name: string, value: string | undefined] {
  const equals = entry.indexOf("=");
  const name = equals === -1 ? entry : entry.slice(0, equals);
  // The message shows only the name: the value may be a secret.
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new UsageError(`${where}: ${JSON.stringify(name)} is not the name of a variable`);
  }
  return [name, equals === -1 ? undefined : entry.slice(equals + 1)];
}
