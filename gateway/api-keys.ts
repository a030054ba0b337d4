// Who may call, by key. Only hashes of keys are kept; the file of them may be read by an operator without harm.

import { createHash } from "node:crypto";
import { MayflyError } from "../core/errors.ts";

/** Whose key it is, and whether it is one of the operator's, who may administer images. */
export interface Caller {
  readonly tenant: string;
  readonly isOperator: boolean;
}

/** Finds who has a key, or undefined. */
export type FindCaller = (key: string) => Caller | undefined;

/**
 * Reads a file of lines such as `acme 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`, with the word `operator`
 * behind if it is an operator's key; empty lines and lines that begin with # do not count. A key is looked up by its hash, so that
 * comparing takes no longer for a better guess.
 * Throws `configuration_invalid` that names the line; a file without any key would lock everybody out and is refused too.
 */
export function parseApiKeys(text: string): FindCaller {
  const callers = new Map<string, Caller>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = /^([a-z0-9][a-z0-9_-]{0,62})\s+([0-9a-f]{64})(\s+operator)?\s*$/.exec(line);
    if (!match?.[1] || !match[2]) throw invalid(`line ${index + 1} is not TENANT SHA256 [operator], in lower case`);
    const caller = { tenant: match[1], isOperator: match[3] !== undefined };
    const before = callers.get(match[2]) ?? caller;
    if (before.tenant !== caller.tenant) throw invalid(`line ${index + 1} has a key of another tenant's`);
    if (before.isOperator !== caller.isOperator)
      throw invalid(`line ${index + 1} has a key that is an operator's and is not`);
    callers.set(match[2], caller);
  }
  if (callers.size === 0) throw invalid("it has no key");
  return (key) => callers.get(createHash("sha256").update(key).digest("hex"));
}

function invalid(why: string): MayflyError {
  return new MayflyError("configuration_invalid", `MAYFLY_API_KEYS_FILE: ${why}`);
}
