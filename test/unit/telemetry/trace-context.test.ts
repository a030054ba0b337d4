import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { parseTraceContext, traceFields } from "../../../telemetry/trace-context.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const GOOD = `00-${TRACE}-${SPAN}-01`;

describe("a traceparent", () => {
  it("of version 00 is taken as it is", () => {
    expect(parseTraceContext(GOOD)).toEqual({ traceparent: GOOD });
  });

  it.each([
    ["of a later version, with more behind", `cc-${TRACE}-${SPAN}-01-what-comes-later`, GOOD],
    ["of a later version, without", `01-${TRACE}-${SPAN}-00`, `00-${TRACE}-${SPAN}-00`],
    ["with flags that are not defined", `00-${TRACE}-${SPAN}-ff`, `00-${TRACE}-${SPAN}-03`],
  ])("%s is passed on as of version 00", (_, sent, taken) => {
    expect(parseTraceContext(sent)?.traceparent).toBe(taken);
  });

  it.each([
    ["nothing", undefined],
    ["the empty text", ""],
    ["version ff", `ff-${TRACE}-${SPAN}-01`],
    ["version 00 with more behind", `${GOOD}-more`],
    ["a trace of zeros", `00-${"0".repeat(32)}-${SPAN}-01`],
    ["a span of zeros", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["capitals", GOOD.toUpperCase()],
    ["a short trace", `00-${TRACE.slice(1)}-${SPAN}-01`],
    ["two of them", `${GOOD}, ${GOOD}`],
    ["a line end", `${GOOD}\n`],
    ["space around it", ` ${GOOD}`],
    ["a later version with a line in it", `01-${TRACE}-${SPAN}-01-a\nTRACEPARENT=b`],
  ])("is none if it is %s", (_, sent) => {
    expect(parseTraceContext(sent, "a=b")).toBeUndefined();
  });

  test("whatever is sent, what is taken has the form of version 00", () => {
    const pieces = fc.constantFrom("00", "01", "ff", TRACE, SPAN, "0".repeat(32), "-", "\n", "g", "A", " ");
    const likely = fc.array(pieces, { maxLength: 9 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(fc.string(), likely, fc.constant(GOOD)), fc.string(), (traceparent, tracestate) => {
        const taken = parseTraceContext(traceparent, tracestate);
        if (taken) expect(taken.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/);
      }),
    );
  });
});

describe("a tracestate", () => {
  it.each([
    ["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"],
    [" a=1 , , b=2\t", "a=1,b=2"],
    ["tenant@vendor=x", "tenant@vendor=x"],
  ])("%s is taken", (sent, taken) => {
    expect(parseTraceContext(GOOD, sent)?.tracestate).toBe(taken);
  });

  it.each([
    ["has a member without value", "a=1,b"],
    ["has a key in capitals", "A=1"],
    ["has a control character", "a=\u0001"],
    ["has more than 32 members", Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(",")],
    ["is longer than 512", `a=${"x".repeat(255)},b=${"x".repeat(255)}`],
    ["is empty", ""],
  ])("that %s is left out, and the traceparent is not", (_, sent) => {
    expect(parseTraceContext(GOOD, sent)).toEqual({ traceparent: GOOD });
  });
});

test("a record has fields of a trace only if there is one", () => {
  expect(traceFields(undefined)).toEqual([]);
  expect(traceFields({ traceparent: GOOD })).toEqual(["traceparent", GOOD]);
  expect(traceFields({ traceparent: GOOD, tracestate: "a=b" })).toEqual(["traceparent", GOOD, "tracestate", "a=b"]);
});
