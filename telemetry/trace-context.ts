// W3C Trace Context (https://www.w3.org/TR/trace-context/): what a caller says of the trace that its call belongs to. It is held to the
// form of the recommendation and trusted for nothing else; what is not of that form is as if it had not been sent.
//
//   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//   tracestate: congo=t61rcWkgMzE,rojo=00f067aa0ba902b7

export interface TraceContext {
  /** Of version 00, whatever version it came with. */
  readonly traceparent: string;
  readonly tracestate?: string | undefined;
}

const TRACEPARENT =
  /^(?<version>(?!ff)[0-9a-f]{2})-(?<trace>(?!0{32})[0-9a-f]{32})-(?<span>(?!0{16})[0-9a-f]{16})-(?<flags>[0-9a-f]{2})(?<more>-.*)?$/;

/** As much as everybody has to pass on; of a longer one nothing is taken. */
const MAX_TRACESTATE = 512;
const MAX_MEMBERS = 32;
const MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** The bits that are defined: sampled, and that the trace's id is random. */
const KNOWN_FLAGS = 0x03;

/** Undefined if `traceparent` is none. A `tracestate` that is none is left out, alone. */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate?: string | undefined,
): TraceContext | undefined {
  const { version, trace, span, flags, more } = TRACEPARENT.exec(traceparent ?? "")?.groups ?? {};
  if (trace === undefined || (version === "00" && more !== undefined)) return undefined;
  const known = (Number.parseInt(flags ?? "", 16) & KNOWN_FLAGS).toString(16);
  const state = parseTracestate(tracestate);
  return { traceparent: `00-${trace}-${span}-0${known}`, ...(state === undefined ? {} : { tracestate: state }) };
}

/** The fields of a run's record that continue a trace, as Redis takes them: name, value, … */
export function traceFields({ traceparent, tracestate }: Partial<TraceContext> = {}): string[] {
  if (traceparent === undefined) return [];
  return ["traceparent", traceparent, ...(tracestate === undefined ? [] : ["tracestate", tracestate])];
}

function parseTracestate(text: string | undefined): string | undefined {
  if (!text || text.length > MAX_TRACESTATE) return undefined;
  const members = text
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
  const isWhole = members.length > 0 && members.length <= MAX_MEMBERS && members.every((member) => MEMBER.test(member));
  return isWhole ? members.join(",") : undefined;
}
