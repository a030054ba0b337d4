// Sealing and opening: what is opened is what was sealed, in the same place, with a key that is here; and nothing else is ever opened.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Keyring, keyringFile, NewSecret, open, parseKeyring, SECRET_BOUNDS, seal } from "../../../core/secret.ts";

const line = (id: string) => `${id} ${randomBytes(32).toString("base64")}`;
const FIRST = line("k1");
const SECOND = line("k2");
const ring = (...lines: string[]): Keyring => parseKeyring(lines.join("\n")) ?? new Map();

describe("a sealed secret", () => {
  test("is opened to what it was, whatever text that is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (value) => {
        expect(open(ring(FIRST), "acme:a", seal(ring(FIRST), "acme:a", value))).toBe(Buffer.from(value).toString());
      }),
    );
  });

  test("is another text each time, in which its value is not to be found", () => {
    const value = "a-value-that-is-looked-for";
    const sealed = [1, 2, 3].map(() => seal(ring(FIRST), "acme:a", value));
    expect(new Set(sealed).size).toBe(3);
    for (const text of sealed) {
      expect(text).toMatch(/^k1\.[\w-]{16}\.[\w-]+$/);
      expect(Buffer.from(text.split(".")[2] ?? "", "base64url").includes(value)).toBe(false);
    }
  });

  test("is refused in another's place, with a bit changed, cut, or without its key, and the error tells no value", () => {
    const value = "a-value-that-is-looked-for";
    const sealed = seal(ring(FIRST), "acme:a", value);
    const bytes = Buffer.from(sealed.split(".")[2] ?? "", "base64url");
    const changed = [0, bytes.length - 1].map((at) => {
      const other = Buffer.from(bytes);
      other[at] = (other[at] ?? 0) ^ 1;
      return [...sealed.split(".").slice(0, 2), other.toString("base64url")].join(".");
    });
    const attempts: [Keyring, string, string][] = [
      [ring(FIRST), "acme:b", sealed],
      [ring(FIRST), "other:a", sealed],
      [ring(FIRST), "*:a", sealed],
      ...changed.map((text): [Keyring, string, string] => [ring(FIRST), "acme:a", text]),
      [ring(FIRST), "acme:a", sealed.slice(0, -4)],
      [ring(FIRST), "acme:a", "k1.."],
      [ring(FIRST), "acme:a", ""],
      [ring(SECOND), "acme:a", sealed],
      [ring(line("k1")), "acme:a", sealed],
    ];
    for (const [keyring, of, text] of attempts) {
      const attempt = () => open(keyring, of, text);
      expect(attempt).toThrow(expect.objectContaining({ reason: "secret_unreadable" }));
      expect(attempt).toThrow(expect.objectContaining({ message: expect.not.stringContaining("looked-for") }));
    }
  });

  test("can still be opened once another key has been put before its own", () => {
    const sealed = seal(ring(FIRST), "acme:a", "x");
    expect(open(ring(SECOND, FIRST), "acme:a", sealed)).toBe("x");
    expect(seal(ring(SECOND, FIRST), "acme:a", "x")).toMatch(/^k2\./);
  });
});

describe("the file of keys", () => {
  test.each([
    ["nothing", ""],
    ["a key that is too short", `k1 ${randomBytes(16).toString("base64")}`],
    ["a key without an id", randomBytes(32).toString("base64")],
    ["two keys of one id", `${FIRST}\n${FIRST}`],
    ["words", "hello world"],
    ["a good key and a bad one", `${FIRST}\nk2 abc`],
  ])("with %s is refused, all of it, and what stands in it is not told", (_, text) => {
    expect(parseKeyring(text)).toBeUndefined();
    const directory = mkdtempSync(join(tmpdir(), "mayfly-keyring-"));
    const file = join(directory, "keys");
    writeFileSync(file, text);
    expect(keyringFile().parse(file)).toBeUndefined();
    writeFileSync(file, `# of the cluster\n${FIRST}\n${SECOND}\n`);
    expect([...(keyringFile().parse(file)?.keys() ?? [])]).toEqual(["k1", "k2"]);
    rmSync(directory, { recursive: true });
  });
});

test("a value has bounds, and no error tells it", () => {
  for (const value of ["", "looked-for\0", `looked-for${"a".repeat(SECRET_BOUNDS.valueBytes)}`]) {
    const parsed = NewSecret.safeParse({ value });
    expect(parsed.success).toBe(false);
    expect(JSON.stringify(parsed.error?.issues)).not.toContain("looked-for");
  }
});
