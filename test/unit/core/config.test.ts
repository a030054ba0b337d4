import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  address,
  bool,
  count,
  describeSettings,
  duration,
  list,
  number,
  oneOf,
  optional,
  readConfig,
  secretFile,
  size,
  someOf,
  text,
} from "../../../core/config.ts";

const directory = mkdtempSync(join(tmpdir(), "mayfly-config-"));
afterAll(() => rmSync(directory, { recursive: true }));

const TABLE = {
  name: text("MAYFLY_NAME", "A name."),
  port: count("MAYFLY_PORT", "A port.", { fallback: "80", min: 1, max: 100 }),
  wait: duration("MAYFLY_WAIT", "A wait.", { fallback: "1m" }),
  room: size("MAYFLY_ROOM", "Room.", { fallback: "1MiB" }),
  share: number("MAYFLY_SHARE", "A share.", { fallback: "0.5" }),
  guard: bool("MAYFLY_GUARD", "A protection.", { fallback: "true" }),
  mode: oneOf("MAYFLY_MODE", "A mode.", ["fast", "safe"], { fallback: "safe" }),
  names: optional(list("MAYFLY_NAMES", "Names.")),
  some: optional(someOf("MAYFLY_SOME", "Some.", ["sweet", "sour", "salt"])),
  secret: secretFile("MAYFLY_SECRET_FILE", "A secret."),
};

const read = (env: NodeJS.ProcessEnv) => readConfig(TABLE, { MAYFLY_NAME: "x", ...env });

test("all problems are told together, each with its variable, the value received and the form expected", () => {
  const env = { MAYFLY_PORT: "0", MAYFLY_WAIT: "10", MAYFLY_ROOM: "1MB!", MAYFLY_SHARE: "-1", MAYFLY_MODE: "Safe" };
  expect(() => readConfig(TABLE, { ...env, MAYFLY_TYPO: "1" })).toThrow(
    expect.objectContaining({
      reason: "configuration_invalid",
      message: [
        "MAYFLY_TYPO is not a setting of this process",
        "MAYFLY_NAME is not set; it takes text that is not empty",
        'MAYFLY_PORT="0" is not a whole number from 1 to 100',
        'MAYFLY_WAIT="10" is not a duration with units, such as "500ms", "30s" or "1h30m"',
        'MAYFLY_ROOM="1MB!" is not a size with a unit, such as "64KiB", "256MiB" or "1GB"',
        'MAYFLY_SHARE="-1" is not a positive number',
        'MAYFLY_MODE="Safe" is not one of fast, safe',
      ].join("\n"),
    }),
  );
});

test("a mistyped variable is refused, and its value is not printed", () => {
  expect(() => read({ MAYFLY_SECRET: "hunter2" })).toThrow(/^MAYFLY_SECRET is not a setting of this process$/);
});

test("variables of others are none of our business, and neither are those of the mayfly command", () => {
  expect(readConfig(TABLE, { HOME: "/", MAYFLY_NAME: "x", MAYFLY_URL: "http://h" }).name).toBe("x");
});

test.each(["yes", "TRUE", "on", "", "2", "toString", "constructor", "__proto__", "valueOf"])(
  "a protection is not switched by %j: that is refused",
  (value) => {
    expect(() => read({ MAYFLY_GUARD: value })).toThrow(
      `MAYFLY_GUARD=${JSON.stringify(value)} is not true, false, 1 or 0`,
    );
  },
);

test("names of a closed set are taken in its order, each once, and no other is", () => {
  expect(read({}).some).toBeUndefined();
  expect(read({ MAYFLY_SOME: "salt,sweet,salt" }).some).toEqual(["sweet", "salt"]);
  for (const value of ["", "sweet,bitter", "sweet, sour", "Sweet", "sweet,"]) {
    expect(() => read({ MAYFLY_SOME: value })).toThrow(
      `MAYFLY_SOME=${JSON.stringify(value)} is not names separated by commas, of sweet, sour, salt`,
    );
  }
});

test.each([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
])("a switch set to %s is %s", (value, expected) => {
  expect(read({ MAYFLY_GUARD: value }).guard).toBe(expected);
});

test.each(["1.0", "1e1", " 1", "+1", "0x10", "101", "1234567890123456"])("%j is no count from 1 to 100", (value) => {
  expect(() => read({ MAYFLY_PORT: value })).toThrow("whole number");
});

test("text that is empty is refused, rather than taken for none", () => {
  expect(() => read({ MAYFLY_NAME: "" })).toThrow('MAYFLY_NAME="" is not text');
});

test("a secret's file that cannot be read is named; what it would hold is not guessed", () => {
  const path = join(directory, "absent");
  expect(() => read({ MAYFLY_SECRET_FILE: path })).toThrow(
    `MAYFLY_SECRET_FILE=${JSON.stringify(path)} is not the path of a readable file`,
  );
});

test("a secret's file that is empty is refused, rather than taken for no secret", () => {
  const path = join(directory, "empty");
  writeFileSync(path, "\n");
  expect(() => read({ MAYFLY_SECRET_FILE: path })).toThrow("MAYFLY_SECRET_FILE");
});

test("a secret is read from its file without the last line end, and no problem prints it", () => {
  const path = join(directory, "secret");
  writeFileSync(path, " hunter2 \n");
  expect(read({ MAYFLY_SECRET_FILE: path }).secret).toBe(" hunter2 ");
  expect(() => read({ MAYFLY_SECRET_FILE: path, MAYFLY_PORT: "x" })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
  );
});

test("what is not set has its default, and what is optional is undefined", () => {
  expect(read({})).toEqual({
    name: "x",
    port: 80,
    wait: 60_000,
    room: 1_048_576,
    share: 0.5,
    guard: true,
    mode: "safe",
  });
  expect(read({}).names).toBeUndefined();
});

test("a list is split at its commas", () => {
  expect(read({ MAYFLY_NAMES: "a,b," }).names).toEqual(["a", "b"]);
});

test("a configuration cannot be changed", () => {
  expect(Object.isFrozen(read({}))).toBe(true);
});

test("the reference has a row for each setting, and says of each what holds without it", () => {
  const rows = describeSettings(TABLE).split("\n").slice(2);
  expect(rows).toHaveLength(Object.keys(TABLE).length);
  expect(rows[0]).toBe("| `MAYFLY_NAME` | A name. | text that is not empty | required |");
  expect(rows[1]).toBe("| `MAYFLY_PORT` | A port. | a whole number from 1 to 100 | `80` |");
  expect(rows.at(-1)).toMatch(/^\| `MAYFLY_SECRET_FILE` \| A secret\. \| .*file.* \| not set \|$/);
});

test.each([
  ["127.0.0.1:0", { host: "127.0.0.1", port: 0 }],
  ["host-1.example:65535", { host: "host-1.example", port: 65_535 }],
  ["[fd00::1]:80", { host: "fd00::1", port: 80 }],
  ["127.0.0.1", undefined],
  ["fd00::1:80", undefined],
  ["host:65536", undefined],
  ["http://host:80", undefined],
  ["host:80/path", undefined],
  ["user@host:80", undefined],
  [":80", undefined],
  ["", undefined],
])("%j as an address is %j", (text, expected) => {
  expect(address("MAYFLY_ADDRESS", "An address.").parse(text)).toEqual(expected);
});

test("an address has no port only where it can be had from elsewhere", () => {
  const { parse } = address("MAYFLY_ADDRESS", "An address.", { portOptional: true });
  expect([parse("host"), parse("host:7")]).toEqual([
    { host: "host", port: undefined },
    { host: "host", port: 7 },
  ]);
});
