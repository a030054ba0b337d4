// What we can prove to registries, and where it is kept: files of secrets, a file like Docker's config.json, helper programs.

import type { AuthFile } from "./auth-file.ts";
import type { HelperPrograms } from "./helper.ts";
import type { Login } from "./login.ts";
import type { SecretsDirectory } from "./secrets-directory.ts";

export interface Credentials {
  /**
   * The login for a registry, by its host as references name it; undefined if there is none. Asked only once a registry wants one.
   * `configuration_invalid` for secrets that cannot be read, `host_unavailable` for a helper that does not work.
   */
  of(host: string, signal: AbortSignal): Promise<Login | undefined>;
  /** The registry did not take it: what is remembered of it is forgotten. */
  refused(host: string): void;
}

export const NO_CREDENTIALS: Credentials = { of: async () => undefined, refused() {} };

export interface CredentialSources {
  readonly secrets?: SecretsDirectory | undefined;
  readonly file?: AuthFile | undefined;
  readonly helpers?: HelperPrograms | undefined;
}

/**
 * The most special comes first: the registry's own files of secrets, the helper that the file names for this registry, the login in the
 * file, and the helper that it names for all.
 */
export function createCredentials({ secrets, file, helpers }: CredentialSources): Credentials {
  const ask = async (helper: string | undefined, host: string, signal: AbortSignal) =>
    helper === undefined ? undefined : helpers?.get(helper, host, signal);
  return {
    async of(host, signal) {
      return (
        (await secrets?.read(host)) ??
        (await ask(file?.helpers.get(host), host, signal)) ??
        file?.logins.get(host) ??
        (await ask(file?.store, host, signal))
      );
    },
    refused: (host) => helpers?.forget(host),
  };
}
