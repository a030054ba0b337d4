// Spans of OpenTelemetry's SDK behind the interface that the product knows.

import {
  type Context,
  createTraceState,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { TraceContext } from "../trace-context.ts";
import { type Attributes, nowMs, type Span, type SpanOptions, type Tracing } from "../tracing.ts";

const KINDS = { internal: SpanKind.INTERNAL, server: SpanKind.SERVER, consumer: SpanKind.CONSUMER } as const;

export class OtelTracing implements Tracing {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  begin(name: string, parent: TraceContext | undefined, options: SpanOptions = {}): Span {
    return new OtelSpan(this.#tracer, name, parent ? contextOf(parent) : ROOT_CONTEXT, options);
  }
}

class OtelSpan implements Span {
  readonly context: TraceContext;
  readonly ids: Span["ids"];
  readonly #tracer: Tracer;
  readonly #span: SdkSpan;

  constructor(tracer: Tracer, name: string, parent: Context, options: SpanOptions) {
    const { kind = "internal", startMs = nowMs(), attributes = {} } = options;
    this.#tracer = tracer;
    this.#span = tracer.startSpan(name, { kind: KINDS[kind], startTime: startMs, attributes }, parent);
    const { traceId, spanId, traceFlags, traceState } = this.#span.spanContext();
    const tracestate = traceState?.serialize();
    this.ids = { trace_id: traceId, span_id: spanId };
    this.context = { traceparent: `00-${traceId}-${spanId}-0${traceFlags}`, ...(tracestate ? { tracestate } : {}) };
  }

  child(name: string, options: SpanOptions = {}): Span {
    return new OtelSpan(this.#tracer, name, trace.setSpan(ROOT_CONTEXT, this.#span), options);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  fail(why: string, message?: string): void {
    this.#span.setAttribute("error.type", why);
    this.#span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) });
  }

  end(endMs = nowMs()): void {
    this.#span.end(endMs);
  }
}

/** It has the form of one: trace-context.ts has seen to that, before it was stored. */
function contextOf({ traceparent, tracestate }: TraceContext): Context {
  const [, traceId = "", spanId = "", flags = ""] = traceparent.split("-");
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  });
}
