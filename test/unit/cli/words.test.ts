// The small parsers and printers: sizes, environments, labels, tables, near words.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDockerSize } from "../../../cli/docker-size.ts";
import { parseEnvFile, readEnvironment } from "../../../cli/environment.ts";
import { editDistance, nearest } from "../../../cli/nearest.ts";
import { alignColumns, formatAge, printable } from "../../../cli/table.ts";
import { UsageError } from "../../../cli/usage-error.ts";
import { parseSize } from "../../../core/units.ts";

describe("a size", () => {
  it.each([
    ["256m", "256MiB"],
    ["1g", "1GiB"],
    ["1.5g", "1536MiB"],
    ["512K", "512KiB"],
    ["67108864", "64MiB"],
    ["100b", "100B"],
    ["0.1k", "102B"],
    ["256MiB", "256MiB"],
    ["256MB", "256MB"],
    ["1.5GiB", "1.5GiB"],
  ])("%s is %s in Mayfly's form", (written, expected) => expect(parseDockerSize(written)).toBe(expected));

  it.each(["", "m", "-1m", "1e3", "256mb", "256 m", "1x", "99999999t", "1.m", "0x10"])("%j is none", (written) => {
    expect(parseDockerSize(written)).toBeUndefined();
  });

  it("keeps its number of bytes in docker's form", () => {
    const unit = fc.constantFrom(["b", 1], ["k", 2 ** 10], ["m", 2 ** 20], ["g", 2 ** 30]) as fc.Arbitrary<
      [string, number]
    >;
    fc.assert(
      fc.property(fc.nat({ max: 1_000_000 }), unit, (count, [letter, bytes]) => {
        expect(parseSize(parseDockerSize(`${count}${letter}`) ?? "")).toBe(count * bytes);
      }),
    );
  });
});

describe("an environment", () => {
  it("takes a name without a value from the caller, and leaves it out if the caller has none", () => {
    expect(readEnvironment(["HOME", "NONE", "A=b=c", "E="], [], { HOME: "/root" })).toEqual({
      HOME: "/root",
      A: "b=c",
      E: "",
    });
  });

  it("lets a flag win over a file, and a later file over an earlier one", () => {
    const files = [
      { path: "one", text: "A=1\nB=1\nC=1" },
      { path: "two", text: "B=2\nC=2" },
    ];
    expect(readEnvironment(["C=3"], files, {})).toEqual({ A: "1", B: "2", C: "3" });
  });

  it("reads a file as docker does: comments, empty lines, CRLF and quotes that stay", () => {
    const text = '\uFEFF# a comment\r\n\r\n  A="x y" # not one\r\nB\n';
    expect(parseEnvFile("file", text)).toEqual([
      ["A", '"x y" # not one'],
      ["B", undefined],
    ]);
  });

  it("refuses what is not a name, says where it is, and does not show the value", () => {
    const read = () => parseEnvFile("file", "A=1\nMY KEY=secret");
    expect(read).toThrow(new UsageError('file, line 2: "MY KEY" is not the name of a variable'));
    expect(() => readEnvironment(["=secret"], [], {})).toThrow(new UsageError('-e: "" is not the name of a variable'));
  });

  it("comes back from a file whatever the values, as long as they have no line ends", () => {
    const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,9}$/).filter((text) => text !== "__proto__");
    const value = fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/.test(text));
    fc.assert(
      fc.property(fc.dictionary(name, value, { noNullPrototype: true }), (env) => {
        const text = Object.entries(env).map(([key, each]) => `${key}=${each}`);
        expect(readEnvironment([], [{ path: "file", text: text.join("\n") }], {})).toEqual(env);
      }),
    );
  });
});

describe("a mistyped word", () => {
  it("is met with the nearest one, if that is near", () => {
    expect(nearest("inpsect", ["run", "inspect", "logs"])).toBe("inspect");
    expect(nearest("rn", ["run", "ps"])).toBe("run");
    expect(nearest("frobnicate", ["run", "ps"])).toBeUndefined();
  });

  it("is as far from another as that is from it, and not at all from itself", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (one, other) => {
        expect(editDistance(one, other)).toBe(editDistance(other, one));
        expect(editDistance(one, other) === 0).toBe(one === other);
      }),
    );
  });
});

describe("a table", () => {
  it("lines its columns up and leaves no space at line ends", () => {
    expect(
      alignColumns([
        ["A", "B", "C"],
        ["long", "", ""],
      ]),
    ).toEqual(["A     B  C", "long"]);
  });

  it("shows nothing that could steer a terminal", () => {
    expect(printable("busy\u001b[2Jbox\n")).toBe("busy?[2Jbox?");
  });

  it.each([
    [0, "0s"],
    [-5, "0s"],
    [59_999, "59s"],
    [3_600_000, "1h"],
    [93_784_000, "1d2h"],
  ])("shows %d ms as the age %s", (ms, expected) => expect(formatAge(ms)).toBe(expected));
});
