// Registry credentials, in the shape of Docker's config.json: {"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}}.

import { z } from "zod";
import { MayflyError } from "../../core/errors.ts";
import { DEFAULT_HOST } from "../image/reference.ts";

/** By registry host, as references name it. A value is `user:password` in base 64: what follows `Basic `. */
export type Credentials = ReadonlyMap<string, string>;

export const NO_CREDENTIALS: Credentials = new Map();

const ENTRY = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
});

/** Helpers are programs: what they hold is not in the file, and to ignore them would look like having no login. */
const FILE = z.object({
  auths: z.record(z.string(), ENTRY),
  credsStore: z.undefined("Mayfly starts no credential helpers").optional(),
  credHelpers: z.undefined("Mayfly starts no credential helpers").optional(),
});

/**
 * Reads the text of a Docker config.json. An entry has `auth`, or `username` and `password`; a key may be a host or an URL.
 * Throws `configuration_invalid`, naming every wrong field and never its value.
 */
export function parseCredentials(text: string): Credentials {
  const file = FILE.safeParse(parseJson(text));
  if (!file.success) throw invalid(file.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`));
  const entries = Object.entries(file.data.auths).map(([key, entry]) => ({ key, basic: basicOf(entry) }));
  const wrong = entries.filter(({ basic }) => basic === undefined);
  if (wrong.length > 0) throw invalid(wrong.map(({ key }) => `auths.${key}.auth: not user:password in base 64`));
  return new Map(entries.map(({ key, basic }) => [hostOf(key), basic ?? ""]));
}

function basicOf({ auth, username, password }: z.infer<typeof ENTRY>): string | undefined {
  const decoded = auth ? Buffer.from(auth, "base64").toString("utf8") : `${username ?? ""}:${password ?? ""}`;
  return /^[^:]+:./s.test(decoded) ? Buffer.from(decoded).toString("base64") : undefined;
}

/** `https://index.docker.io/v1/` is how Docker's own file calls docker.io. */
function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "index.docker.io" || host === "registry-1.docker.io" ? DEFAULT_HOST : host;
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
