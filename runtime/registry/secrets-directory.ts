// Logins as Kubernetes and Docker mount secrets, a directory a registry and a file a value:
//
//   <secretsDir>/<host[:port]>/username, password
//   <secretsDir>/<host[:port]>/token               an OAuth2 refresh token (Docker's identity token)
//
// They are read each time that a registry asks for a login, so that a secret that is changed needs no restart.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, isMayflyError, MayflyError } from "../../core/errors.ts";
import { isDirectoryName } from "./host-directory.ts";
import { basicLogin, isBasicPair, type Login } from "./login.ts";

/** Kubernetes takes no larger secret than 1 MiB, and a login is a tiny part of that. */
const MAX_SECRET_BYTES = 64 * 1024;

export interface SecretsDirectory {
  /** Undefined if there is nothing for this host. `configuration_invalid`, naming the file and never its content. */
  read(host: string): Promise<Login | undefined>;
}

export function createSecretsDirectory(directory: string): SecretsDirectory {
  return {
    async read(host) {
      if (!isDirectoryName(host)) return undefined;
      const place = join(directory, host);
      const read = (name: string) => readSecret(join(place, name));
      const [user, password, token] = await Promise.all([read("username"), read("password"), read("token")]);
      if (user === undefined && password === undefined && token === undefined) return undefined;
      if (token !== undefined && user === undefined && password === undefined && token !== "")
        return { kind: "identity", refreshToken: token };
      if (token === undefined && isBasicPair(user ?? "", password ?? "")) return basicLogin(user ?? "", password ?? "");
      throw invalid(place, "it takes the files username and password, or token, and none of them empty");
    },
  };
}

/** Without the line end that an editor leaves. */
async function readSecret(path: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_SECRET_BYTES) throw invalid(path, `it has more than ${MAX_SECRET_BYTES} bytes`);
    return bytes.toString("utf8").replace(/\r?\n$/, "");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw isMayflyError(error) ? error : invalid(path, "it cannot be read");
  }
}

function invalid(path: string, why: string): MayflyError {
  return new MayflyError("configuration_invalid", `registry secrets: ${path}: ${why}`);
}
