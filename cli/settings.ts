// Which gateway, and with which key: from the flags, then the environment, then the context.
//
// One idea: a context's key goes only to the context's own address, wherever an address came from.

import { optional, readConfig, type Setting, secretFile, text } from "../core/config.ts";
import { contextOf, keyOf, readContexts } from "./contexts.ts";
import type { Env } from "./environment.ts";
import { GATEWAY_URL_FORM, isGatewayUrl } from "./gateway-url.ts";
import { UsageError } from "./usage-error.ts";

export const CLI_SETTINGS = {
  url: {
    ...text("MAYFLY_URL", "The gateway's URL.", { fallback: "http://127.0.0.1:8080" }),
    form: GATEWAY_URL_FORM,
    parse: (value) => (isGatewayUrl(value) ? value : undefined),
  } satisfies Setting<string>,
  context: optional(text("MAYFLY_CONTEXT", "The context to use, if there is no MAYFLY_URL.")),
  apiKeyFile: secretFile("MAYFLY_API_KEY_FILE", "A file that holds the API key."),
  apiKey: optional(text("MAYFLY_API_KEY", "The API key itself; it goes before the file.")),
} as const;

export interface CliSettings {
  readonly url: string;
  readonly apiKey: string | undefined;
}

/** `--url` and `--context`. */
export interface Whereto {
  readonly url?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * Throws MayflyError `configuration_invalid` with every problem of the environment or the file of contexts, or UsageError for a flag
 * or a context that there is not. A key is never part of a message.
 */
export function readSettings(env: Env, flags: Whereto): CliSettings {
  // Variables of the other processes may be set in the same shell, so only these are looked at.
  const own = Object.values(CLI_SETTINGS).map(({ variable }) => [variable, env[variable]] as const);
  const config = readConfig(CLI_SETTINGS, Object.fromEntries(own.filter(([, value]) => value !== undefined)));
  const apiKey = checkKey(config.apiKey ?? config.apiKeyFile);
  if (flags.url !== undefined) return { url: checkUrlFlag(flags), apiKey };
  if (flags.context === undefined && env.MAYFLY_URL !== undefined) return { url: config.url, apiKey };
  const contexts = readContexts(env);
  const name = flags.context ?? config.context ?? contexts.current;
  if (name === undefined) return { url: config.url, apiKey };
  const context = contextOf(contexts, name);
  const contextKey = () => checkKey(keyOf(name, context));
  // What is said now goes before what was said once.
  const key = flags.context === undefined ? (apiKey ?? contextKey()) : (contextKey() ?? apiKey);
  return { url: context.url, apiKey: key };
}

function checkUrlFlag({ url = "", context }: Whereto): string {
  if (context !== undefined) throw new UsageError("--url and --context exclude each other: both say which gateway");
  if (!isGatewayUrl(url)) throw new UsageError(`--url ${JSON.stringify(url)} is not ${GATEWAY_URL_FORM}`);
  return url;
}

/** What cannot stand in a header would be refused later, by an error that shows it. */
export function checkKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError(
    "the API key is empty or has characters that a key cannot have: check MAYFLY_API_KEY, its _FILE and the context",
  );
}
