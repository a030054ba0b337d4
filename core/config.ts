// Environment in, frozen typed value out, all problems told at once. The reference page is printed from the same table.

import { readFileSync } from "node:fs";
import { MayflyError } from "./errors.ts";
import { DURATION_FORM, formatDuration, parseDuration, parseSize, SIZE_FORM } from "./units.ts";

/**
 * The `mayfly` command's, and so perhaps set in a shell that starts a process. The command's variables for a key are not let
 * pass: MAYFLY_API_KEY_FILE may well be a mistyped MAYFLY_API_KEYS_FILE.
 */
const COMMAND_VARIABLES = ["MAYFLY_URL", "MAYFLY_CONTEXT"];

/** One variable: how it is read, what it means, what holds without it. */
export interface Setting<T> {
  readonly variable: string;
  readonly says: string;
  /** As the user would write it; without one the variable is required, unless `optional`. */
  readonly fallback?: string;
  readonly optional?: true;
  /** Never printed, and read from the file that `<variable>` names (its name ends in `_FILE`). */
  readonly secret?: true;
  readonly form: string;
  readonly parse: (text: string) => T | undefined;
}

type Table = Readonly<Record<string, Setting<unknown>>>;
type Value<S> = S extends Setting<infer T> ? (S extends { optional: true } ? T | undefined : T) : never;
export type Config<S extends Table> = { readonly [K in keyof S]: Value<S[K]> };

type Options = { fallback?: string };

export const text = (variable: string, says: string, options: Options = {}) =>
  setting(variable, says, "text that is not empty", (value) => (value === "" ? undefined : value), options);

export const duration = (variable: string, says: string, options: Options & { minMs?: number } = {}) => {
  const { minMs = 0 } = options;
  const inRange = (value: string) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= minMs ? ms : undefined;
  };
  const form = minMs === 0 ? DURATION_FORM : `${DURATION_FORM}, of at least ${formatDuration(minMs)}`;
  return setting(variable, says, form, inRange, options);
};

/** An absolute path: what it would be relative to is nobody's business to guess. */
export const path = (variable: string, says: string, options: Options = {}) =>
  setting(variable, says, "an absolute path", (value) => (value.startsWith("/") ? value : undefined), options);

/** Where a process listens or is to be found; the port may be left out if there is something to take it from. */
export const address = (variable: string, says: string, options: Options & { portOptional?: true } = {}) => {
  const form = `HOST${options.portOptional ? "[:PORT]" : ":PORT"}, an IPv6 address in brackets`;
  const parse = (value: string) => {
    const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9._-]+))(?::(?<port>\d{1,5}))?$/.exec(value);
    const { v6, name, port } = match?.groups ?? {};
    const host = v6 ?? name;
    if (host === undefined || Number(port ?? 0) > 65_535 || (port === undefined && !options.portOptional))
      return undefined;
    return { host, port: port === undefined ? undefined : Number(port) };
  };
  return setting(variable, says, form, parse, options);
};

export const size = (variable: string, says: string, options: Options = {}) =>
  setting(variable, says, SIZE_FORM, parseSize, options);

export const count = (variable: string, says: string, options: Options & { min?: number; max?: number } = {}) => {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  const inRange = (value: string) =>
    /^\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max ? Number(value) : undefined;
  return setting(variable, says, `a whole number from ${min} to ${max}`, inRange, options);
};

export const number = (variable: string, says: string, options: Options = {}) => {
  const positive = (value: string) =>
    /^\d{1,9}(\.\d{1,6})?$/.test(value) && Number(value) > 0 ? Number(value) : undefined;
  return setting(variable, says, "a positive number", positive, options);
};

export const bool = (variable: string, says: string, options: Options = {}) => {
  const values = new Map(Object.entries({ true: true, "1": true, false: false, "0": false }));
  return setting(variable, says, "true, false, 1 or 0", (value) => values.get(value), options);
};

export const oneOf = <const T extends string>(
  variable: string,
  says: string,
  choices: readonly T[],
  options: Options = {},
) =>
  setting(
    variable,
    says,
    `one of ${choices.join(", ")}`,
    (value) => choices.find((choice) => choice === value),
    options,
  );

export const list = (variable: string, says: string, options: Options = {}) => {
  const names = (value: string) => value.split(",").filter((item) => item !== "");
  return setting(
    variable,
    says,
    "names separated by commas",
    (value) => (names(value).length > 0 ? names(value) : undefined),
    options,
  );
};

/** Names of a closed set. */
export const someOf = <const T extends string>(
  variable: string,
  says: string,
  choices: readonly T[],
  options: Options = {},
) => {
  const chosen = (value: string) => {
    const names = new Set(value.split(","));
    const known = choices.filter((choice) => names.has(choice));
    return known.length === names.size ? known : undefined;
  };
  return setting(variable, says, `names separated by commas, of ${choices.join(", ")}`, chosen, options);
};

/** A secret's file is read when the configuration is; its value is trimmed of the last line end. */
export const secretFile = (variable: string, says: string, content: { form?: string; pattern?: RegExp } = {}) => {
  const { form = "that is not empty", pattern = /./ } = content;
  const read = (path: string) => readSecret(path, pattern);
  return {
    ...setting(variable, says, `the path of a readable file ${form}`, read, {}),
    secret: true as const,
    optional: true as const,
  };
};

/** A file with the URL of a Redis server: it holds a password. */
export const redisUrlFile = (variable: string) =>
  secretFile(
    variable,
    "A file with Redis' URL, such as redis://:password@127.0.0.1:6379/0. Without it, redis://127.0.0.1:6379/0.",
    {
      form: "with a URL of redis:// or rediss://",
      pattern: /^rediss?:\/\/\S+$/,
    },
  );

export const optional = <T>(of: Setting<T>): Setting<T> & { optional: true } => ({ ...of, optional: true });

/**
 * Reads every setting of the table from the environment.
 * Throws one `configuration_invalid` that lists every problem: name, value received (never a secret's), form expected.
 * Any other `MAYFLY_*` variable is a problem too, so that a mistyped protection is not silently off.
 */
export function readConfig<S extends Table>(table: S, env: NodeJS.ProcessEnv): Config<S> {
  const problems = unknownVariables(env, [
    ...Object.values(table).map((entry) => entry.variable),
    ...COMMAND_VARIABLES,
  ]);
  const config: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(table)) {
    const raw = env[entry.variable] ?? entry.fallback;
    if (raw === undefined) {
      if (!entry.optional) problems.push(`${entry.variable} is not set; it takes ${entry.form}`);
      continue;
    }
    const value = entry.parse(raw);
    if (value === undefined) problems.push(`${entry.variable}=${JSON.stringify(raw)} is not ${entry.form}`);
    config[key] = value;
  }
  if (problems.length > 0) throw new MayflyError("configuration_invalid", problems.join("\n"));
  return Object.freeze(config) as Config<S>;
}

/** A Markdown table of the settings, for the reference page. */
export function describeSettings(table: Table): string {
  const rows = Object.values(table).map(
    ({ variable, says, form, fallback, optional: isOptional }) =>
      `| \`${variable}\` | ${says} | ${form} | ${fallback === undefined ? (isOptional ? "not set" : "required") : `\`${fallback}\``} |`,
  );
  return ["| variable | what it sets | form | default |", "|---|---|---|---|", ...rows].join("\n");
}

function setting<T>(
  variable: string,
  says: string,
  form: string,
  parse: Setting<T>["parse"],
  options: Options,
): Setting<T> {
  return { variable, says, form, parse, ...(options.fallback === undefined ? {} : { fallback: options.fallback }) };
}

function unknownVariables(env: NodeJS.ProcessEnv, known: readonly string[]): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith("MAYFLY_") && !known.includes(name))
    .map((name) => `${name} is not a setting of this process`);
}

function readSecret(path: string, pattern: RegExp): string | undefined {
  try {
    const secret = readFileSync(path, "utf8").replace(/\r?\n$/, "");
    // An empty secret is a mistake, and never "no secret".
    return pattern.test(secret) ? secret : undefined;
  } catch {
    return undefined; // The problem list names the variable and the path; the errno adds nothing to that.
  }
}
