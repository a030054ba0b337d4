// The host's image service as a listening server.

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { MayflyError } from "../../core/errors.ts";
import { createImageApp, type ImageServiceOptions } from "./app.ts";

/** How long a connection may be silent, in a request (but for those that work at length) and between two. */
const IDLE_MS = 60_000;

/** How long a request may take to come: the largest archive over a slow line. */
const REQUEST_MS = 6 * 3_600_000;

/** Every host of a large cluster may ask for several blobs at once; more are turned away. */
const MAX_CONNECTIONS = 1_024;

const UNSPECIFIED: ReadonlySet<string> = new Set(["0.0.0.0", "::", "0:0:0:0:0:0:0:0"]);

export interface ListenOptions extends ImageServiceOptions {
  readonly listen: { readonly host: string; readonly port: number | undefined };
  /** Where others find it, if that is not where it listens; its port is that of `listen` if it has none. */
  readonly advertise?: { readonly host: string; readonly port: number | undefined } | undefined;
}

export interface ImageService {
  /** As it stands in the host's record. */
  readonly url: string;
  /** Ends what is under way. Idempotent. */
  close(): Promise<void>;
}

/** Resolves when it listens. Errors: `configuration_invalid` if it cannot. */
export async function startImageService(options: ListenOptions): Promise<ImageService> {
  const { listen, advertise } = options;
  if (!advertise && UNSPECIFIED.has(listen.host)) {
    const message = `MAYFLY_IMAGES_LISTEN=${listen.host} is nowhere to be found: set MAYFLY_IMAGES_ADDRESS`;
    throw new MayflyError("configuration_invalid", message);
  }
  const app = createImageApp(options);
  const server = serve({
    fetch: app.fetch,
    hostname: listen.host,
    port: listen.port ?? 0,
    serverOptions: { keepAliveTimeout: IDLE_MS, requestTimeout: REQUEST_MS },
  }) as Server;
  server.timeout = IDLE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  await once(server, "listening").catch((error: Error) => {
    const message = `cannot listen on MAYFLY_IMAGES_LISTEN=${listen.host}:${listen.port}: ${error.message}`;
    throw new MayflyError("configuration_invalid", message);
  });
  const { address, port } = server.address() as AddressInfo;
  let closed: Promise<unknown> | undefined;
  return {
    url: urlOf(advertise?.host ?? address, advertise?.port ?? port),
    async close() {
      closed ??= new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
