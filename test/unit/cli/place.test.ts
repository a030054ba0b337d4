// Where the cursor is on an unfinished command line.

import { describe, expect, it } from "vitest";
import { GLOBAL_FLAGS } from "../../../cli/command.ts";
import { placeOf } from "../../../cli/place.ts";
import { COMMANDS } from "../../../cli/program.ts";

const at = (line: string) => placeOf(line.split(" "), COMMANDS, GLOBAL_FLAGS);

describe("the place of the cursor", () => {
  it.each<[string, string | undefined, readonly string[], string]>([
    ["", undefined, [], ""],
    ["in", undefined, [], "in"],
    ["--url http://x ins", undefined, [], "ins"],
    ["--json kill ", "kill", [], ""],
    ["kill -s INT run_1 ", "kill", ["run_1"], ""],
    ["ps --state=running -n 5 ", "ps", [], ""],
    ["run -it -e A=1 busybox sh -s ", "run", ["busybox", "sh", "-s"], ""],
    ["run -eA=1 busy", "run", [], "busy"],
    ["help ki", undefined, [], "ki"],
  ])("of %j is behind the command %j and %j", (line, name, operands, partial) => {
    const place = at(line);
    expect([place.command?.name, place.operands, place.partial]).toEqual([name, operands, partial]);
    expect(place.awaiting).toBeUndefined();
  });

  it.each([
    ["kill -s ", "SIGNAL", ""],
    ["kill --signal SI", "SIGNAL", ""],
    ["ps --state=ru", "STATE", "--state="],
    ["ps -an ", "NUMBER", ""],
    ["--context ", "CONTEXT", ""],
  ])("of %j is at a value of %s", (line, value, before) => {
    expect(at(line).awaiting).toMatchObject({ flag: { value }, before });
  });

  it("knows which gateway was named so far", () => {
    expect(at("--context prod ps --url=http://x ").given).toEqual({ context: "prod", url: "http://x" });
  });

  it("takes nothing for a flag that the program gets", () => {
    expect(at("run busybox --").isPastFlags).toBe(true);
    expect(at("run busybox ls --state=").awaiting).toBeUndefined();
  });
});
