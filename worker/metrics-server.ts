// GET /metrics of a worker, where MAYFLY_METRICS_LISTEN says. Whoever reaches it may read it: it has neither ids nor names of images or
// tenants. It answers nothing else.

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { MayflyError } from "../core/errors.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { PROMETHEUS_TYPE, prometheusText } from "../telemetry/prometheus.ts";

/** One scraper or two; whoever holds more connections is not one. */
const MAX_CONNECTIONS = 16;
const REQUEST_MS = 10_000;

export interface MetricsServer {
  readonly url: string;
  close(): void;
}

/** Throws `configuration_invalid` if it cannot listen there. */
export async function serveMetrics(
  metrics: Metrics,
  { host, port }: { readonly host: string; readonly port: number | undefined },
): Promise<MetricsServer> {
  const server = createServer({ requestTimeout: REQUEST_MS }, async (request, response) => {
    if (request.url !== "/metrics") return void response.writeHead(404).end();
    if (request.method !== "GET") return void response.writeHead(405, { allow: "GET" }).end();
    const text = await prometheusText(metrics);
    response.writeHead(200, { "content-type": PROMETHEUS_TYPE }).end(text);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, host, port ?? 0);
  const { address, family, port: taken } = server.address() as { address: string; family: string; port: number };
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${taken}/metrics`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const listening = once(server, "listening");
  server.listen(port, host);
  await listening.catch((error: Error) => {
    throw new MayflyError(
      "configuration_invalid",
      `cannot listen on MAYFLY_METRICS_LISTEN=${host}:${port}: ${error.message}`,
    );
  });
}
