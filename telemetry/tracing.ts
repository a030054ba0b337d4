// What the product knows of tracing: spans, and the context that continues one elsewhere. Who traces is decided at start: nobody
// (NO_TRACING), or OpenTelemetry's SDK (otel/spans.ts), which is not even loaded otherwise.
//
// A span is handed on, never found in the air: what a piece of work belongs to can be read from its arguments.

import type { TraceContext } from "./trace-context.ts";

/** By OpenTelemetry's semantic conventions where they have a name for it, else `mayfly.*`. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

export interface SpanOptions {
  readonly kind?: "internal" | "server" | "consumer";
  /** When it began, if that is not now; milliseconds since the epoch, as `nowMs` tells them. */
  readonly startMs?: number;
  readonly attributes?: Attributes;
}

export interface Span {
  /** What continues from here: this span or, where nothing is traced, what came from the caller. */
  readonly context: TraceContext | undefined;
  /** For the log. */
  readonly ids: { readonly trace_id?: string; readonly span_id?: string };
  child(name: string, options?: SpanOptions): Span;
  set(attributes: Attributes): void;
  /** It has not done what it was to do; `why` is a short word of a closed set. */
  fail(why: string, message?: string): void;
  /** To be called once. */
  end(endMs?: number): void;
}

export interface Tracing {
  /** Continues the trace of `parent`, or begins one. */
  begin(name: string, parent: TraceContext | undefined, options?: SpanOptions): Span;
}

/** What came from the caller is passed on all the same. */
export const NO_TRACING: Tracing = { begin: (_, parent) => (parent ? untraced(parent) : UNTRACED) };

function untraced(context: TraceContext | undefined): Span {
  const span: Span = { context, ids: {}, child: () => span, set() {}, fail() {}, end() {} };
  return span;
}

/** Belongs to no trace. */
export const UNTRACED: Span = untraced(undefined);

/** The wall clock may be set: so often the monotonic one is held to it again. */
const HOLD_MS = 60_000;
let epochMs = performance.timeOrigin;
let heldAtMs = Number.NEGATIVE_INFINITY;

/** Milliseconds since the epoch with the monotonic clock's fractions: the moments of spans are told by it. */
export function nowMs(): number {
  const sinceMs = performance.now();
  if (sinceMs - heldAtMs > HOLD_MS) {
    epochMs = Date.now() - sinceMs;
    heldAtMs = sinceMs;
  }
  return epochMs + sinceMs;
}
