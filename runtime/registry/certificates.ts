// The certificates that an operator adds for single hosts, in the shape of Docker's certs.d:
//
//   <certsDir>/<host[:port]>/ca.crt                   trusted for this host, besides the authorities that Node knows
//   <certsDir>/<host[:port]>/client.cert, client.key  shown to this host; both or neither, and not where another host has led us here

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import { isErrno, MayflyError } from "../../core/errors.ts";
import { isDirectoryName } from "./host-directory.ts";

export interface HostCertificates {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** Undefined if there is nothing for this host. `registry_unavailable`, naming the file, if what is there cannot be used. */
export async function readCertificates(certsDir: string, host: string): Promise<HostCertificates | undefined> {
  if (!isDirectoryName(host)) return undefined;
  const read = (name: string) => readIfThere(join(certsDir, host, name), host);
  const [ca, cert, key] = await Promise.all([read("ca.crt"), read("client.cert"), read("client.key")]);
  if ((cert === undefined) !== (key === undefined))
    throw unusable(host, `${join(certsDir, host)} has only one of client.cert and client.key`);
  if (ca !== undefined) checkCertificate(join(certsDir, host, "ca.crt"), ca, host);
  if (cert !== undefined) checkCertificate(join(certsDir, host, "client.cert"), cert, host);
  if (ca === undefined && cert === undefined) return undefined;
  return {
    ...(ca === undefined ? {} : { ca: [...getCACertificates("default"), ca] }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  };
}

/** The codes of OpenSSL's verification, of Node's check of the name, and of the alerts of servers that refuse ours. */
const CERTIFICATE_CODES =
  /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|UNKNOWN_CA|PATH_LENGTH/;

/** Is it a certificate, theirs or ours, that kept a connection from coming about? */
export function isCertificateError(error: unknown): error is Error & { code: string } {
  return error instanceof Error && "code" in error && CERTIFICATE_CODES.test(String(error.code));
}

async function readIfThere(path: string, host: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw unusable(host, `${path} cannot be read`, error);
  }
}

/** TLS would take a file of nonsense as one without certificates, and fail later with a riddle. */
function checkCertificate(path: string, pem: string, host: string): void {
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw unusable(host, `${path} is not a certificate in PEM`, error);
  }
}

function unusable(host: string, why: string, cause?: unknown): MayflyError {
  return new MayflyError("registry_unavailable", `${host}: its certificates here are unusable: ${why}`, {
    cause,
    details: { host },
  });
}
