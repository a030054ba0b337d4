import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { OutputEvent, RunEvent } from "../../../cli/client.ts";
import { createPosition } from "../../../cli/position.ts";
import { decodeEvent } from "../../../cli/run-event.ts";
import { newRunId } from "../../../core/ids.ts";

const decode = (name: string, data: unknown, id = "1.3.0") => decodeEvent({ name, data: JSON.stringify(data), id });

describe("an event of a run", () => {
  it("carries its bytes, its offset and its attempt", () => {
    expect(decode("stdout", { offset: 1, base64: "aGkK" }, "2.4.0")).toMatchObject({
      type: "stdout",
      attempt: 2,
      offset: 1,
    });
    expect(decode("state", { state: "running", attempt: 2 })).toEqual({ type: "state", state: "running", attempt: 2 });
  });

  it("of a pull tells how far it is", () => {
    const pulling = { layers: 3, layersDone: 1, bytes: 10, size: 30, bytesPerSecond: 5 };
    expect(decode("progress", pulling)).toEqual({ type: "progress", pulling });
  });

  it("of a name that is not known yet is passed over", () => {
    expect(decode("weather", { sunny: true })).toBeUndefined();
  });

  it("may have fields that are not known yet", () => {
    const outcome = { kind: "exited", exitCode: 0, why: "new" };
    expect(decode("end", { id: newRunId(), state: "finished", outcome, mood: "good" })).toMatchObject({
      outcome: { kind: "exited", exitCode: 0 },
    });
  });

  it.each([
    ["state", { state: "flying", attempt: 1 }, "1.0.0"],
    ["state", { state: "running", attempt: -1 }, "1.0.0"],
    ["progress", { layers: 1 }, ""],
    ["stdout", { offset: 0, base64: "aGkK" }, "3"],
    ["stdout", { offset: 0 }, "1.0.0"],
    ["stdout", { offset: 0, base64: "a*Gk" }, "1.0.0"],
    ["stderr", { offset: "0", base64: "" }, "1.0.0"],
    ["end", { id: "run_x", outcome: { kind: "exited", exitCode: 0 } }, ""],
    ["end", { id: newRunId(), outcome: { kind: "vanished" } }, ""],
    ["end", [], ""],
  ])("that is a malformed %s is refused: %j", (name, data, id) => {
    expect(() => decode(name, data, id)).toThrow(expect.objectContaining({ reason: "answer_invalid" }));
  });
});

const output = (offset: number, text: string, attempt = 1): OutputEvent => ({
  type: "stdout",
  attempt,
  offset,
  bytes: Buffer.from(text),
});

const textOf = (event: RunEvent | undefined) =>
  event && "bytes" in event ? Buffer.from(event.bytes).toString() : undefined;

describe("a position in a run's output", () => {
  it("cuts off what it has had", () => {
    const position = createPosition();
    expect(position.id).toBeUndefined();
    position.advance(output(0, "abc"));
    expect(textOf(position.advance(output(1, "bcde")))).toBe("de");
    expect(position.advance(output(0, "abc"))).toBeUndefined();
    expect(position.id).toBe("1.5.0");
  });

  it("notices what was left out, and stays where it was", () => {
    const position = createPosition();
    position.advance(output(0, "abc"));
    expect(() => position.advance(output(5, "x"))).toThrow(expect.objectContaining({ code: "unavailable" }));
    expect(position.id).toBe("1.3.0");
  });

  it("starts again with a later attempt, and hears nothing of an earlier one", () => {
    const position = createPosition();
    position.advance(output(0, "abc"));
    expect(textOf(position.advance(output(0, "xy", 2)))).toBe("xy");
    expect(position.id).toBe("2.2.0");
    expect(position.advance(output(3, "late", 1))).toBeUndefined();
  });

  it("tells a state once", () => {
    const position = createPosition();
    const running: RunEvent = { type: "state", state: "running", attempt: 1 };
    expect(position.advance(running)).toEqual(running);
    expect(position.advance(running)).toBeUndefined();
    expect(position.advance({ ...running, attempt: 2 })).toEqual({ ...running, attempt: 2 });
  });

  it("gives every byte once, however connections repeat and cut them", () => {
    const connection = fc.record({ back: fc.nat(50), pieces: fc.array(fc.integer({ min: 1, max: 20 })) });
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii", minLength: 1 }), fc.array(connection), (text, connections) => {
        const position = createPosition();
        let received = "";
        for (const { back, pieces } of [...connections, { back: 0, pieces: [text.length] }]) {
          let at = Math.max(0, received.length - back);
          for (const size of pieces) {
            received += textOf(position.advance(output(at, text.slice(at, at + size)))) ?? "";
            at = Math.min(text.length, at + size);
          }
        }
        expect(received).toBe(text);
      }),
    );
  });
});
