import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatOrder,
  type HostOrder,
  parseOrder,
  SIGNALS,
  SignalRequest,
  TerminalSize,
} from "../../../core/control.ts";
import { newRunId } from "../../../core/ids.ts";
import { RunRequest } from "../../../core/request.ts";

const run = newRunId();

describe("a terminal's size", () => {
  it.each([
    ["no rows", { rows: 0, columns: 80 }],
    ["a negative side", { rows: 24, columns: -1 }],
    ["more than any screen", { rows: 1001, columns: 80 }],
    ["part of a row", { rows: 24.5, columns: 80 }],
    ["a side as text", { rows: "24", columns: 80 }],
    ["no number", { rows: Number.NaN, columns: 80 }],
    ["one side", { rows: 24 }],
    ["pixels", { rows: 24, columns: 80, pixels: 1 }],
    ["nothing", null],
  ])("of %s is refused, alone and in a request", (_, size) => {
    expect(TerminalSize.safeParse(size).success).toBe(false);
    const asked = RunRequest.safeParse({ image: "busybox", terminal: size });
    expect(asked.error?.issues[0]?.path[0]).toBe("terminal");
  });

  it("from 1 to 1000 is taken, with and without stdin", () => {
    for (const terminal of [
      { rows: 1, columns: 1 },
      { rows: 1000, columns: 1000 },
    ]) {
      expect(RunRequest.parse({ image: "busybox", terminal })).toEqual({ image: "busybox", terminal });
      expect(RunRequest.safeParse({ image: "busybox", terminal, stdin: { stream: true } }).success).toBe(true);
    }
  });
});

describe("a signal", () => {
  it.each(["SIGSTOP", "SIGSEGV", "INT", "sigint", "SIGRTMIN+1", "", "2", 2, "SIGINT SIGINT", "toString"])(
    "%j is refused",
    (signal) => expect(SignalRequest.safeParse({ signal }).success).toBe(false),
  );

  it("is one of the list, and nothing beside it", () => {
    for (const signal of SIGNALS) expect(SignalRequest.parse({ signal })).toEqual({ signal });
    expect(SignalRequest.safeParse({ signal: "SIGINT", pid: 1 }).success).toBe(false);
  });
});

describe("an order to a host", () => {
  const orders: HostOrder[] = [
    { verb: "cancel", run },
    { verb: "force-cancel", run },
    { verb: "resize", run },
    { verb: "duty" },
    ...SIGNALS.map((signal) => ({ verb: "signal", run, signal }) as const),
  ];

  it.each(orders)("is heard as it was given: %j", (order) => expect(parseOrder(formatOrder(order))).toEqual(order));

  it.each([
    "",
    "cancel",
    `duty ${run}`,
    "duty ",
    `cancel  ${run}`,
    `cancel ${run} now`,
    `resize ${run} 24 80`,
    `kill ${run}`,
    `signal ${run}`,
    `signal ${run} SIGSTOP`,
    `signal ${run} 9`,
    `signal ${run} SIGINT `,
    `signal run_1 SIGINT`,
    `signal ${run}\nkill SIGINT`,
    `SIGNAL ${run} SIGINT`,
    `constructor ${run}`,
  ])("is none if it is %j", (text) => expect(parseOrder(text)).toBeUndefined());

  it("is never made of what is not one, and reading it never throws", () => {
    const word = fc.oneof(fc.string(), fc.constantFrom("duty", "cancel", "resize", "signal", run, ...SIGNALS));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (words) => {
        const text = words.join(" ");
        const order = parseOrder(text);
        if (order) expect(formatOrder(order)).toBe(text);
      }),
    );
  });
});
