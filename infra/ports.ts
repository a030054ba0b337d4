// A port of the loopback address: the usual one, so that addresses stay the same, or the next that is free.

import { createServer } from "node:net";

export const LOOPBACK = "127.0.0.1";

/** How many ports after the preferred one are tried: more than the stacks that anyone runs side by side. */
const MAX_TRIES = 100;

/**
 * The preferred port, or the next free one.
 * Free means free now: whoever is to have it must take it at once, and fail clearly if somebody was quicker.
 */
export async function freePort(preferred: number, host: string = LOOPBACK): Promise<number> {
  for (let port = preferred; port < preferred + MAX_TRIES; port++) {
    if (await isFree(port, host)) return port;
  }
  throw new Error(`no port from ${preferred} to ${preferred + MAX_TRIES - 1} of ${host} is free`);
}

function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(false) : reject(error),
    );
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
