// The secrets of one run, opened when it starts: the only place where they are in the clear, besides the program's environment.

import { MayflyError } from "../core/errors.ts";
import type { RunRecord } from "../core/record.ts";
import { type Keyring, open, ownerOf } from "../core/secret.ts";

/** The sealed text of a secret by its owner and name, if there is one. */
export type ReadSealed = (of: string) => Promise<string | undefined>;

/**
 * By variable. A tenant's own secret stands before one of the same name that is for all. Errors, neither of which tells a value:
 * `secret_not_found` if one has gone since the run was accepted, `secret_unreadable`.
 */
export async function openSecrets(
  { tenant, request }: RunRecord,
  keyring: Keyring | undefined,
  read: ReadSealed,
): Promise<Record<string, string>> {
  const named = Object.entries(request.secretEnv ?? {});
  const opened = named.map(async ([variable, name]) => [variable, await openOne({ tenant, name }, keyring, read)]);
  return Object.fromEntries(await Promise.all(opened));
}

async function openOne(
  { tenant, name }: { tenant: string; name: string },
  keyring: Keyring | undefined,
  read: ReadSealed,
): Promise<string> {
  for (const owner of [tenant, ownerOf(undefined)]) {
    const sealed = await read(`${owner}:${name}`);
    if (sealed === undefined) continue;
    if (keyring) return open(keyring, `${owner}:${name}`, sealed);
    throw new MayflyError("secret_unreadable", `the host has no key for the secret ${name}: MAYFLY_SECRETS_KEY_FILE`);
  }
  throw new MayflyError("secret_not_found", `there is no secret ${name}`);
}
