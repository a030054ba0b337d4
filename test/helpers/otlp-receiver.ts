// A receiver of OTLP over HTTP, in JSON, on loopback: it keeps what it is sent, and says when what is waited for has come.
//
//   const receiver = await startOtlpReceiver();
//   await startCluster({ gatewayEnv: receiver.env });
//   const span = await receiver.span(({ name }) => name === "run");

import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

export interface ReceivedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  /** 1 internal, 2 server, 5 consumer. */
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  /** 0 unset, 2 error. */
  readonly status: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** The newest point of a metric. */
export interface ReceivedPoint {
  readonly service: string;
  readonly name: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of a histogram, its count. */
  readonly value: number;
}

export interface OtlpReceiver {
  /** What makes a process send here, soon. */
  readonly env: Readonly<Record<string, string>>;
  readonly spans: readonly ReceivedSpan[];
  /** The first such span, now or later. */
  span(matches: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan>;
  /** The first such point from now on. */
  point(matches: (point: ReceivedPoint) => boolean): Promise<ReceivedPoint>;
  /** Resolves once so many requests have come, of any kind. */
  asked(times: number): Promise<void>;
  stop(): Promise<void>;
}

/** `answer` is the status of every answer; "never" answers nothing. */
export async function startOtlpReceiver(answer: number | "never" = 200): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const watchers = new Set<(points: readonly ReceivedPoint[]) => void>();
  let requests = 0;
  const server = createServer(async (request, response) => {
    const points = await receive(request, spans).catch((error) => {
      response.writeHead(500).end(String(error));
      throw error;
    });
    requests++;
    if (answer !== "never") response.writeHead(answer, { "content-type": "application/json" }).end("{}");
    for (const watch of watchers) watch(points);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  const until = <T>(look: (points: readonly ReceivedPoint[]) => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const watch = (points: readonly ReceivedPoint[]) => {
        const found = look(points);
        if (found === undefined) return;
        watchers.delete(watch);
        resolve(found);
      };
      watchers.add(watch);
      watch([]);
    });

  return {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_BSP_SCHEDULE_DELAY: "20",
      OTEL_METRIC_EXPORT_INTERVAL: "200",
    },
    spans,
    span: (matches) => until(() => spans.find(matches)),
    point: (matches) => until((points) => points.find(matches)),
    asked: (times) => until(() => (requests >= times ? true : undefined)).then(() => {}),
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface Resource {
  readonly attributes: readonly Attribute[];
}

interface SentSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: { readonly code?: number };
  readonly attributes: readonly Attribute[];
}

interface SentPoint {
  readonly attributes: readonly Attribute[];
  readonly asDouble?: number;
  readonly asInt?: number | string;
  readonly count?: number | string;
}

interface SentMetric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: readonly SentPoint[] };
  readonly gauge?: { readonly dataPoints: readonly SentPoint[] };
  readonly histogram?: { readonly dataPoints: readonly SentPoint[] };
}

interface Sent {
  readonly resourceSpans?: readonly {
    readonly resource: Resource;
    readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[];
  }[];
  readonly resourceMetrics?: readonly {
    readonly resource: Resource;
    readonly scopeMetrics: readonly { readonly metrics: readonly SentMetric[] }[];
  }[];
}

async function receive(request: IncomingMessage, spans: ReceivedSpan[]): Promise<ReceivedPoint[]> {
  if (request.headers["content-type"] !== "application/json") throw new Error("it is not JSON");
  const { resourceSpans = [], resourceMetrics = [] } = (await json(request)) as Sent;
  for (const { resource, scopeSpans } of resourceSpans)
    for (const scope of scopeSpans) spans.push(...scope.spans.map((span) => spanOf(serviceOf(resource), span)));
  return resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) => metrics.flatMap((metric) => pointsOf(serviceOf(resource), metric))),
  );
}

function spanOf(service: string, span: SentSpan): ReceivedSpan {
  const { name, traceId, spanId, kind } = span;
  return {
    ...{ service, name, traceId, spanId, kind },
    parentSpanId: span.parentSpanId || undefined,
    traceState: span.traceState || undefined,
    startMs: Number(BigInt(span.startTimeUnixNano) / 1000n) / 1000,
    endMs: Number(BigInt(span.endTimeUnixNano) / 1000n) / 1000,
    status: span.status?.code ?? 0,
    attributes: valuesOf(span.attributes),
  };
}

function pointsOf(service: string, { name, sum, gauge, histogram }: SentMetric): ReceivedPoint[] {
  const { dataPoints = [] } = sum ?? gauge ?? histogram ?? {};
  return dataPoints.map((point) => ({
    service,
    name,
    attributes: valuesOf(point.attributes),
    value: Number(point.asDouble ?? point.asInt ?? point.count),
  }));
}

function serviceOf({ attributes }: Resource): string {
  return String(valuesOf(attributes)["service.name"]);
}

function valuesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, "intValue" in value ? Number(value.intValue) : Object.values(value)[0]]),
  );
}
