import { expect, test } from "vitest";
import { parseCredentials } from "../../../../runtime/registry/credentials.ts";

const encode = (text: string) => Buffer.from(text).toString("base64");

test("logins are found under the host that references name, however the file spells it", () => {
  const auth = encode("alice:secret");
  const auths = {
    "https://index.docker.io/v1/": { auth },
    "ghcr.io": { auth },
    "https://registry.example:5000": { username: "alice", password: "secret" },
  };
  const credentials = parseCredentials(JSON.stringify({ auths, HttpHeaders: {} }));
  expect([...credentials]).toEqual([
    ["docker.io", auth],
    ["ghcr.io", auth],
    ["registry.example:5000", auth],
  ]);
});

test("a password may contain colons", () => {
  expect(parseCredentials(JSON.stringify({ auths: { h: { auth: encode("a:b:c") } } })).get("h")).toBe(encode("a:b:c"));
});

test.each([
  ["not JSON", "{secret", "not JSON"],
  ["without auths", "{}", "auths"],
  ["with a login of another type", '{"auths":{"h":{"auth":1}}}', "auths.h.auth"],
  ["with a login that is not base 64 of two parts", '{"auths":{"h":{"auth":"c2VjcmV0"}}}', "auths.h.auth"],
  ["with an empty login", '{"auths":{"h":{}}}', "auths.h.auth"],
  ["with an empty user", `{"auths":{"h":{"auth":"${encode(":secret")}"}}}`, "auths.h.auth"],
  ["that leaves logins to a helper", '{"auths":{},"credsStore":"secret"}', "credsStore"],
])("a file %s is refused: the field is named, and no value is shown", (_what, text, field) => {
  expect(() => parseCredentials(text)).toThrow(
    expect.objectContaining({ reason: "configuration_invalid", message: expect.stringContaining(field) }),
  );
  expect(() => parseCredentials(text)).not.toThrow(/secret|c2VjcmV0/);
});
