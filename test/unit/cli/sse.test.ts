import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSseParser, type SseEvent } from "../../../cli/sse.ts";

const parseAll = (...chunks: (string | Uint8Array)[]): SseEvent[] => {
  const parse = createSseParser();
  return chunks.flatMap((chunk) => parse(typeof chunk === "string" ? Buffer.from(chunk) : chunk));
};

/** Cuts bytes at the given places, so that some pieces are empty. */
const cut = (bytes: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const edges = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
};

describe("the event stream parser", () => {
  it("gives an event once its empty line has come, and not before", () => {
    const parse = createSseParser();
    expect(parse(Buffer.from("id: 1.3.0\nevent: stdout\ndata: {}\n"))).toEqual([]);
    expect(parse(Buffer.from("\n"))).toEqual([{ name: "stdout", data: "{}", id: "1.3.0" }]);
  });

  it("never gives an event that the stream broke off in", () => {
    expect(parseAll("data: whole\n\ndata: half")).toEqual([{ name: "message", data: "whole", id: "" }]);
  });

  it("passes over comments, unknown fields and events without data", () => {
    expect(parseAll(": keep-alive\n\nretry: 5\nfoo: bar\nevent: empty\n\n")).toEqual([]);
  });

  it("does not carry the name of an event without data over to the next", () => {
    expect(parseAll("event: a\n\ndata: x\n\n")).toEqual([{ name: "message", data: "x", id: "" }]);
  });

  it("joins data lines with a line feed and drops one space after the colon", () => {
    expect(parseAll("data:a\ndata:  b\ndata\n\n")).toEqual([{ name: "message", data: "a\n b\n", id: "" }]);
  });

  it("keeps the last id until another is named, and ignores one with a NUL", () => {
    const ids = parseAll("id: 7\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n").map(({ id }) => id);
    expect(ids).toEqual(["7", "7", "7", ""]);
  });

  it("drops a byte order mark at the very beginning", () => {
    expect(parseAll("\uFEFFdata: a\n\n")).toEqual([{ name: "message", data: "a", id: "" }]);
  });

  it("refuses a line or an event that is longer than its bound", () => {
    expect(() => createSseParser(10)(Buffer.from(`data: ${"x".repeat(20)}`))).toThrow(/longer than 10/);
    expect(() => createSseParser(10)(Buffer.from("data: 12345\ndata: 67890\ndata: 1\n"))).toThrow(/longer than 10/);
  });

  it("gives the same events however the bytes are cut, with any of the three line ends", () => {
    const value = fc.string({ unit: fc.constantFrom("a", "ä", "€", "😀", ":", " ", "{") });
    const field = fc.constantFrom("data", "event", "id", "", "retry");
    const line = fc.tuple(field, value).map(([name, text]) => `${name}: ${text}`);
    const stream = fc.array(fc.tuple(fc.oneof(line, fc.constant("")), fc.constantFrom("\n", "\r", "\r\n")));
    fc.assert(
      fc.property(stream, fc.array(fc.nat()), (lines, places) => {
        const bytes = Buffer.from(lines.map(([text, end]) => text + end).join(""));
        expect(parseAll(...cut(bytes, places))).toEqual(parseAll(bytes));
      }),
    );
  });

  it("gives back whatever data a well-formed stream was written with", () => {
    const text = fc.string({ unit: "grapheme" }).filter((value) => !/[\r\n]/.test(value));
    fc.assert(
      fc.property(fc.array(fc.array(text, { minLength: 1 })), (events) => {
        const stream = events.map((lines) => `${lines.map((line) => `data: ${line}\n`).join("")}\n`).join("");
        expect(parseAll(stream).map(({ data }) => data)).toEqual(events.map((lines) => lines.join("\n")));
      }),
    );
  });
});
