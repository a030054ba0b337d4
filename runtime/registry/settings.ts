// What an operator sets of registries, made into what the client takes.

import { parseCredentials } from "./auth-file.ts";
import type { RegistryOptions } from "./client.ts";
import { createCredentials } from "./credentials.ts";
import { createHelpers } from "./helper.ts";
import { checkDirectory } from "./host-directory.ts";
import { parseMirrors } from "./mirrors.ts";
import { createSecretsDirectory } from "./secrets-directory.ts";

export interface RegistrySettings {
  /** Text of a file like Docker's config.json. */
  readonly registryAuth?: string | undefined;
  /** Directory with a subdirectory a registry, see secrets-directory.ts. */
  readonly registrySecretsDir?: string | undefined;
  /** Directory with a subdirectory a registry, see certificates.ts. */
  readonly registryCertsDir?: string | undefined;
  /** `HOST=MIRROR_HOST[/PREFIX]`, see mirrors.ts. */
  readonly registryMirrors?: readonly string[] | undefined;
  /** `host` or `host:port`, spoken to over plain HTTP. */
  readonly insecureRegistries?: readonly string[] | undefined;
}

/** Throws `configuration_invalid` for what cannot be meant. */
export async function registryOptions(settings: RegistrySettings): Promise<RegistryOptions> {
  const { registryAuth, registrySecretsDir, registryCertsDir, registryMirrors, insecureRegistries } = settings;
  if (registrySecretsDir !== undefined) await checkDirectory(registrySecretsDir, "registry secrets");
  if (registryCertsDir !== undefined) await checkDirectory(registryCertsDir, "registry certificates");
  return {
    insecure: insecureRegistries ?? [],
    mirrors: parseMirrors(registryMirrors ?? []),
    credentials: createCredentials({
      secrets: registrySecretsDir === undefined ? undefined : createSecretsDirectory(registrySecretsDir),
      file: registryAuth === undefined ? undefined : parseCredentials(registryAuth),
      helpers: createHelpers(),
    }),
    ...(registryCertsDir === undefined ? {} : { certsDir: registryCertsDir }),
  };
}
