import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { parseApiKeys } from "../../../gateway/api-keys.ts";

const hash = (key: string) => createHash("sha256").update(key).digest("hex");

test.each([
  ["no hash", "acme", 1],
  ["a key in the clear", "acme secret", 1],
  ["a hash in upper case", `acme ${hash("a").toUpperCase()}`, 1],
  ["a hash that is cut", `acme ${hash("a").slice(1)}`, 1],
  ["a tenant in upper case", `Acme ${hash("a")}`, 1],
  ["a tenant with a colon", `a:b ${hash("a")}`, 1],
  ["another third word", `acme ${hash("a")} admin`, 1],
  ["a third word in upper case", `acme ${hash("a")} Operator`, 1],
  ["a fourth word", `acme ${hash("a")} operator x`, 1],
  ["a third word that is not apart", `acme ${hash("a")}operator`, 1],
  ["a key that is an operator's and is not", `acme ${hash("a")}\nacme ${hash("a")} operator`, 2],
  ["a fault further down", `# keys\n\nacme ${hash("a")}\nother`, 4],
])("a line with %s is refused, and named", (_, text, line) => {
  expect(() => parseApiKeys(text)).toThrow(
    expect.objectContaining({ reason: "configuration_invalid", message: expect.stringContaining(`line ${line} `) }),
  );
});

test("a refused line is not quoted: there may be a key in it", () => {
  expect(() => parseApiKeys("acme hunter2")).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
  );
});

test.each(["", "\n", "# acme\n"])("a file without any key would lock everybody out, and is refused: %j", (text) => {
  expect(() => parseApiKeys(text)).toThrow("it has no key");
});

test("one key of two tenants is refused: nobody could say whose runs they are", () => {
  expect(() => parseApiKeys(`acme ${hash("a")}\nother ${hash("a")}\n`)).toThrow("line 2");
});

test("a key is its tenant's, a tenant may have several, and any other key is nobody's", () => {
  const findCaller = parseApiKeys(`# keys\nacme ${hash("a")}\r\n\nacme\t${hash("b")}\nother ${hash("c")}\n`);
  expect(["a", "b", "c", "d", "", hash("a")].map((key) => findCaller(key)?.tenant)).toEqual([
    "acme",
    "acme",
    "other",
    undefined,
    undefined,
    undefined,
  ]);
});

test("a key is an operator's, with every scope, only if its line says so", () => {
  const findCaller = parseApiKeys(`acme ${hash("a")}\nacme ${hash("b")}  operator \r\n`);
  expect(findCaller("a")).toEqual({ tenant: "acme", scopes: new Set(["submit", "read", "cancel"]) });
  expect(findCaller("b")).toEqual({ tenant: "acme", scopes: new Set(["submit", "read", "cancel", "admin"]) });
});
