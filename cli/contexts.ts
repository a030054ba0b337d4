// Several clusters by name: where each is, and with which key. One file of the user's own, replaced whole.
//
//   $XDG_CONFIG_HOME/mayfly/contexts.json   {"current":"prod","contexts":{"prod":{"url":"https://…","apiKeyFile":"/…/key"}}}

import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { z } from "zod";
import { isErrno, MayflyError } from "../core/errors.ts";
import { describeIssues } from "../core/issues.ts";
import type { Env } from "./environment.ts";
import { isGatewayUrl } from "./gateway-url.ts";
import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

export const CONTEXT_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

const Context = z.strictObject({
  url: z.string().refine(isGatewayUrl, "is not an http or https URL without a user name"),
  apiKey: z.string().optional(),
  apiKeyFile: z.string().optional(),
});
export type Context = z.infer<typeof Context>;

const Contexts = z.strictObject({
  current: z.string().optional(),
  contexts: z.record(z.string().regex(CONTEXT_NAME), Context),
});
export type Contexts = z.infer<typeof Contexts>;

/** Undefined for a user without a home. XDG Base Directory Specification: a path that is not absolute does not count. */
export function contextsPath(env: Env): string | undefined {
  const { XDG_CONFIG_HOME: own, HOME: home } = env;
  if (own !== undefined && isAbsolute(own)) return join(own, "mayfly/contexts.json");
  return home ? join(home, ".config/mayfly/contexts.json") : undefined;
}

/** None if there is no file. Throws MayflyError `configuration_invalid`, which never shows a key. */
export function readContexts(env: Env): Contexts {
  const path = contextsPath(env);
  if (path === undefined) return { contexts: {} };
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, "utf8");
    mode = statSync(path).mode & 0o777;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return { contexts: {} };
    throw new MayflyError("configuration_invalid", `${path} cannot be read`, { cause: error });
  }
  const read = Contexts.safeParse(parseJson(path, text));
  if (!read.success) {
    const [issue] = describeIssues(read.error, 1);
    throw new MayflyError("configuration_invalid", `${path}: ${issue?.path.join(".")} ${issue?.message}`);
  }
  const holdsKey = Object.values(read.data.contexts).some(({ apiKey }) => apiKey !== undefined);
  if (holdsKey && (mode & 0o077) !== 0)
    throw new MayflyError("configuration_invalid", `${path} holds a key and is open to others: chmod 600 ${path}`);
  return read.data;
}

/** For this user only: 0600, in a directory of 0700 if it has to be made. */
export function writeContexts(env: Env, contexts: Contexts): void {
  const path = contextsPath(env);
  if (path === undefined)
    throw new UsageError("there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set");
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const part = `${path}.${process.pid}.part`;
  writeFileSync(part, `${JSON.stringify(contexts, null, 2)}\n`, { mode: 0o600 });
  renameSync(part, path);
}

/** The context of this name. Throws UsageError that names the nearest, or all. */
export function contextOf({ contexts }: Contexts, name: string): Context {
  const found = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (found) return found;
  const names = Object.keys(contexts);
  const near = nearest(name, names);
  const others = names.length === 0 ? "; mayfly context create makes one" : `; there are ${names.join(", ")}`;
  throw new UsageError(
    `there is no context ${JSON.stringify(name)}${near === undefined ? others : `; did you mean ${near}?`}`,
  );
}

/** A file that cannot be read is an error, never "no key". */
export function keyOf(name: string, { apiKey, apiKeyFile }: Context): string | undefined {
  if (apiKey !== undefined || apiKeyFile === undefined) return apiKey;
  try {
    return readFileSync(apiKeyFile, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    const message = `the key file of the context ${name}, ${apiKeyFile}, cannot be read`;
    throw new MayflyError("configuration_invalid", message, { cause: error });
  }
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MayflyError("configuration_invalid", `${path} is not JSON`);
  }
}
