// Which gateway, and with which key: from the flags, then the environment.

import { optional, readConfig, type Setting, secretFile, text } from "../core/config.ts";
import type { Env } from "./environment.ts";
import { UsageError } from "./usage-error.ts";

export const CLI_SETTINGS = {
  url: {
    ...text("MAYFLY_URL", "The gateway's URL.", { fallback: "http://127.0.0.1:8080" }),
    form: "an http or https URL without a user name",
    parse: parseGatewayUrl,
  } satisfies Setting<string>,
  apiKeyFile: secretFile("MAYFLY_API_KEY_FILE", "A file that holds the API key."),
  apiKey: optional(text("MAYFLY_API_KEY", "The API key itself; it goes before the file.")),
} as const;

export interface CliSettings {
  readonly url: string;
  readonly apiKey: string | undefined;
}

/** Throws MayflyError `configuration_invalid` with every problem, or UsageError for `--url`. A key is never part of a message. */
export function readSettings(env: Env, urlFlag: string | undefined): CliSettings {
  // Variables of the other processes may be set in the same shell, so only these are looked at.
  const own = Object.values(CLI_SETTINGS).map(({ variable }) => [variable, env[variable]] as const);
  const config = readConfig(CLI_SETTINGS, Object.fromEntries(own.filter(([, value]) => value !== undefined)));
  return {
    url: urlFlag === undefined ? config.url : checkUrlFlag(urlFlag),
    apiKey: checkKey(config.apiKey ?? config.apiKeyFile),
  };
}

function checkUrlFlag(value: string): string {
  const url = parseGatewayUrl(value);
  if (url === undefined) throw new UsageError(`--url ${JSON.stringify(value)} is not ${CLI_SETTINGS.url.form}`);
  return url;
}

/** A user name in a URL would be sent to logs and shown by `ps`; keys have variables of their own. */
function parseGatewayUrl(value: string): string | undefined {
  const url = URL.parse(value);
  const isGateway = url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
  return isGateway ? value : undefined;
}

/** What cannot stand in a header would be refused later, by an error that shows it. */
function checkKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError(
    "the API key is empty or has characters that a key cannot have: check MAYFLY_API_KEY and its _FILE",
  );
}
