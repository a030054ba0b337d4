// Registry credentials in the shape of Docker's config.json:
//
//   {"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}, "credHelpers": {"123.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}}

import { z } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { normalHost } from "../image/reference.ts";
import { basicLogin, isBasicPair, isHeaderSafe, type Login } from "./login.ts";

/** Hosts as references name them. */
export interface AuthFile {
  readonly logins: ReadonlyMap<string, Login>;
  /** `credHelpers`: a helper's name for one registry. */
  readonly helpers: ReadonlyMap<string, string>;
  /** `credsStore`: the helper for all the others. */
  readonly store: string | undefined;
}

const ENTRY = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

type Entry = z.infer<typeof ENTRY>;

/** The name becomes that of a program, so it is one word: no path, no option. */
const HELPER = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/, "not the name of a credential helper");

const FILE = z.object({
  auths: z.record(z.string(), ENTRY).optional(),
  credHelpers: z.record(z.string(), HELPER).optional(),
  credsStore: HELPER.optional(),
});

/**
 * Reads the text of a Docker config.json. An entry has `auth`, `username` and `password`, `identitytoken` or `registrytoken`; it may
 * be empty where a helper has the login. A key may be a host or an URL.
 * Throws `configuration_invalid`, naming every wrong field and never its value.
 */
export function parseCredentials(text: string): AuthFile {
  const parsed = FILE.safeParse(parseJson(text));
  if (!parsed.success) throw invalid(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`));
  const { auths, credHelpers = {}, credsStore } = parsed.data;
  if (!auths && !credsStore && Object.keys(credHelpers).length === 0)
    throw invalid(["auths: nothing is there, and no helper"]);
  const hasHelper = (key: string) => credsStore !== undefined || credHelpers[key] !== undefined;
  const given = Object.entries(auths ?? {}).filter(([key, entry]) => !(isEmpty(entry) && hasHelper(key)));
  const entries = given.map(([key, entry]) => ({ key, login: loginOf(entry) }));
  const wrong = entries.filter(({ login }) => login === undefined);
  if (wrong.length > 0)
    throw invalid(wrong.map(({ key }) => `auths.${key}.auth: not user:password in base 64, nor another login`));
  return {
    logins: new Map(entries.flatMap(({ key, login }) => (login ? [[hostOf(key), login] as const] : []))),
    helpers: new Map(Object.entries(credHelpers).map(([key, helper]) => [hostOf(key), helper])),
    store: credsStore,
  };
}

/** Tokens first: where there is one, Docker leaves a user without a password beside it. */
function loginOf({ auth, username = "", password = "", identitytoken, registrytoken }: Entry): Login | undefined {
  if (registrytoken) return isHeaderSafe(registrytoken) ? { kind: "bearer", token: registrytoken } : undefined;
  if (identitytoken) return { kind: "identity", refreshToken: identitytoken };
  const decoded = auth ? Buffer.from(auth, "base64").toString("utf8") : `${username}:${password}`;
  const colon = decoded.indexOf(":");
  const pair = [decoded.slice(0, Math.max(colon, 0)), decoded.slice(colon + 1)] as const;
  return isBasicPair(...pair) ? basicLogin(...pair) : undefined;
}

function isEmpty(entry: Entry): boolean {
  return Object.values(entry).every((value) => !value);
}

/** `https://index.docker.io/v1/` is how Docker's own file calls docker.io. */
function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return normalHost(host) ?? host;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(["not JSON"]); // The parser's message quotes the text, which holds secrets.
  }
}

function invalid(problems: readonly string[]): MayflyError {
  return new MayflyError("configuration_invalid", `registry credentials: ${problems.join("; ")}`);
}
