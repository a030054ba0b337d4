// The gateway's file of keys: those that are there before any other is made, and that Redis cannot take away. Only hashes of keys are
// kept; the file of them may be read by an operator without harm.

import { SCOPES, type Scope } from "../core/api-key.ts";
import { MayflyError } from "../core/errors.ts";
import { hashKey } from "./key-material.ts";

/** Whose key it is, and what it may do. */
export interface Caller {
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
  /** The key's id, if it has one: those of the file have none. */
  readonly key?: string;
}

/** Finds who has a key, or undefined. Errors: `queue_unavailable` if that cannot be known now. */
export type FindCaller = (key: string) => Caller | undefined | Promise<Caller | undefined>;

export const ALL_SCOPES: ReadonlySet<Scope> = new Set(SCOPES);
const OF_TENANTS: ReadonlySet<Scope> = new Set(["submit", "read", "cancel"]);

/**
 * Reads a file of lines such as `acme 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`, with the word `operator`
 * behind if it is an operator's key, which has every scope; others lack `admin`. Empty lines and lines that begin with # do not count.
 * A key is looked up by its hash, so that comparing takes no longer for a better guess.
 * Throws `configuration_invalid` that names the line; a file without any key would lock everybody out and is refused too.
 */
export function parseApiKeys(text: string): (key: string) => Caller | undefined {
  const callers = new Map<string, Caller>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = /^([a-z0-9][a-z0-9_-]{0,62})\s+([0-9a-f]{64})(\s+operator)?\s*$/.exec(line);
    if (!match?.[1] || !match[2]) throw invalid(`line ${index + 1} is not TENANT SHA256 [operator], in lower case`);
    const caller = { tenant: match[1], scopes: match[3] === undefined ? OF_TENANTS : ALL_SCOPES };
    const before = callers.get(match[2]) ?? caller;
    if (before.tenant !== caller.tenant) throw invalid(`line ${index + 1} has a key of another tenant's`);
    if (before.scopes !== caller.scopes) throw invalid(`line ${index + 1} has a key that is an operator's and is not`);
    callers.set(match[2], caller);
  }
  if (callers.size === 0) throw invalid("it has no key");
  return (key) => callers.get(hashKey(key));
}

function invalid(why: string): MayflyError {
  return new MayflyError("configuration_invalid", `MAYFLY_API_KEYS_FILE: ${why}`);
}
