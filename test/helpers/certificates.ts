// Certificates for tests, made by openssl: an authority, and what it signs.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runProgram } from "../../runtime/host/command.ts";

export interface Issued {
  /** Paths of files in PEM. */
  readonly certificate: string;
  readonly key: string;
}

export interface Authority extends Issued {
  /** `names` as openssl has them: `DNS:localhost`, `IP:127.0.0.1`. */
  issue(name: string, names: string): Promise<Issued>;
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Everything is written into the directory, which is the caller's to remove. */
export async function makeAuthority(directory: string, name: string): Promise<Authority> {
  const own = place(directory, name);
  const { certificate, key } = own;
  await openssl("req", "-x509", ...NEW_KEY, "-keyout", key, "-out", certificate, "-days", "2", "-subj", `/CN=${name}`);
  return {
    ...own,
    async issue(leaf, names) {
      const issued = place(directory, leaf);
      const [request, extensions] = [`${issued.certificate}.csr`, `${issued.certificate}.ext`];
      await writeFile(extensions, `subjectAltName=${names}\n`);
      await openssl("req", ...NEW_KEY, "-keyout", issued.key, "-out", request, "-subj", `/CN=${leaf}`);
      const signing = ["-CA", certificate, "-CAkey", key, "-CAcreateserial", "-days", "1", "-extfile", extensions];
      await openssl("x509", "-req", "-in", request, "-out", issued.certificate, ...signing);
      return issued;
    },
  };
}

const place = (directory: string, name: string): Issued => ({
  certificate: join(directory, `${name}.crt`),
  key: join(directory, `${name}.key`),
});

function openssl(...args: string[]): Promise<string> {
  return runProgram(["openssl", ...args]);
}
