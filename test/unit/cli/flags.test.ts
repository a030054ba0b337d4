import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseFlags } from "../../../cli/flags.ts";
import { UsageError } from "../../../cli/usage-error.ts";

const TABLE = {
  env: { short: "e", value: "NAME", many: true, says: "" },
  memory: { short: "m", value: "SIZE", says: "" },
  interactive: { short: "i", says: "" },
  detach: { short: "d", says: "" },
  timeout: { value: "DURATION", says: "" },
} as const;

const NOTHING = { env: [], memory: undefined, interactive: false, detach: false, timeout: undefined };
const asRun = (...args: string[]) => parseFlags(args, TABLE, { stopAtOperand: true, absent: { t: "no terminal" } });

describe("flags", () => {
  it.each([
    [["-e", "A=1"], { env: ["A=1"] }],
    [["-eA=1"], { env: ["A=1"] }],
    [["-e=A=1"], { env: ["A=1"] }],
    [["--env=A=1"], { env: ["A=1"] }],
    [["--env", "A=1", "-e", "B"], { env: ["A=1", "B"] }],
    [["-ie", "A=1"], { interactive: true, env: ["A=1"] }],
    [["-idm64m"], { interactive: true, detach: true, memory: "64m" }],
    [["-m", "1g", "-m", "2g"], { memory: "2g" }],
    [["--memory="], { memory: "" }],
    [["--detach=false"], {}],
    [["--detach", "--detach=true"], { detach: true }],
    [["-e", "-d"], { env: ["-d"] }],
  ])("are read from %j as docker reads them", (args, expected) => {
    expect(asRun(...args, "image")).toEqual({ flags: { ...NOTHING, ...expected }, operands: ["image"] });
  });

  it("end at the first operand of a command that takes another command", () => {
    expect(asRun("-i", "image", "-d", "--env", "--", "-e")).toEqual({
      flags: { ...NOTHING, interactive: true },
      operands: ["image", "-d", "--env", "--", "-e"],
    });
  });

  it("may follow operands of the other commands", () => {
    expect(parseFlags(["a", "-d", "b"], TABLE)).toEqual({ flags: { ...NOTHING, detach: true }, operands: ["a", "b"] });
  });

  it("end at --, and a lone - is an operand", () => {
    expect(parseFlags(["-", "--", "-d"], TABLE).operands).toEqual(["-", "-d"]);
  });

  it.each([
    [["--memroy", "1g"], "there is no flag --memroy; did you mean --memory?"],
    [["--memroy=1g"], "there is no flag --memroy; did you mean --memory?"],
    [["-x"], "there is no flag -x"],
    [["-ix"], "there is no flag -x (in -ix)"],
    [["-it"], "-t (in -it) is not a flag of Mayfly's: no terminal"],
    [["--zzzzzz"], "there is no flag --zzzzzz"],
    [["--constructor"], "there is no flag --constructor"],
    [["--memory"], "--memory needs a value: SIZE"],
    [["-ie"], "-e needs a value: NAME"],
    [["--detach=maybe"], '--detach is a switch: it takes true or false, not "maybe"'],
  ])("are refused when %j is given, and the message says why", (args, message) => {
    expect(() => asRun(...args)).toThrow(new UsageError(message));
  });

  it("mean the same in every form that docker has for them, and leave the operands alone", () => {
    const value = fc.string().map((text) => `v${text}`);
    const written = fc.oneof(
      fc.constantFrom("long =", "long", "attached", "short").chain((form) => value.map((text) => ({ form, text }))),
      fc.constantFrom({ form: "switch", text: "" }, { form: "grouped", text: "v" }),
    );
    fc.assert(
      fc.property(fc.array(written), fc.array(fc.string()), (flags, command) => {
        const forms: Record<string, (text: string) => string[]> = {
          "long =": (text) => [`--env=${text}`],
          long: (text) => ["--env", text],
          attached: (text) => [`-e${text}`],
          short: (text) => ["-e", text],
          switch: () => ["-d"],
          grouped: (text) => ["-de", text],
        };
        const args = flags.flatMap(({ form, text }) => forms[form]?.(text) ?? []);
        const parsed = asRun(...args, "image", ...command);
        expect(parsed.flags.env).toEqual(flags.filter(({ form }) => form !== "switch").map(({ text }) => text));
        expect(parsed.flags.detach).toBe(flags.some(({ form }) => form === "switch" || form === "grouped"));
        expect(parsed.operands).toEqual(["image", ...command]);
      }),
    );
  });

  it("give an answer or a UsageError for any words at all", () => {
    const word = fc.oneof(fc.string(), fc.constantFrom("-", "--", "-e", "-ie", "--env", "--env=", "-=", "--=x"));
    fc.assert(
      fc.property(fc.array(word), (args) => {
        try {
          parseFlags(args, TABLE);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
  });
});
