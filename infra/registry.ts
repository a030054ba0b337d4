// The embedded registry: images that are pushed to it are kept on disk. On loopback only, as it has neither TLS nor users.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { get } from "./http.ts";
import { type Place, privateOnce, writePrivate } from "./place.ts";
import { LOOPBACK } from "./ports.ts";
import { PLAIN_ENVIRONMENT } from "./settings.ts";

const READY_MS = 30_000;

/** Resolves when it answers, with how images name it, such as `127.0.0.1:5000`. */
export async function startRegistry(place: Place, port: number): Promise<string> {
  const directory = place.directory("registry");
  const secret = privateOnce(join(directory, "secret"), () => randomBytes(24).toString("hex"));
  const configFile = join(directory, "config.yml");
  writePrivate(configFile, configOf({ directory, port, secret }));
  const server = place.launch("registry", ["docker-registry", "serve", configFile], PLAIN_ENVIRONMENT);
  const address = `${LOOPBACK}:${port}`;
  await server.answers(async () => {
    const { status } = await get(`http://${address}/v2/`);
    if (status !== 200) throw new Error(`GET /v2/ is answered ${status}`);
  }, READY_MS);
  return address;
}

function configOf({ directory, port, secret }: { directory: string; port: number; secret: string }): string {
  return `version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: ${JSON.stringify(join(directory, "data"))}
  delete:
    enabled: false
http:
  addr: ${LOOPBACK}:${port}
  secret: ${secret}
`;
}
