import { expect, test } from "vitest";
import { parseCredentials } from "../../../../runtime/registry/auth-file.ts";

const encode = (text: string) => Buffer.from(text).toString("base64");

test("logins are found under the host that references name, however the file spells it", () => {
  const auth = encode("alice:secret");
  const auths = {
    "https://index.docker.io/v1/": { auth },
    "ghcr.io": { auth },
    "https://Registry.Example:5000": { username: "alice", password: "secret" },
  };
  const credentials = parseCredentials(JSON.stringify({ auths, HttpHeaders: {} }));
  const login = { kind: "basic", basic: auth };
  expect([...credentials.logins]).toEqual([
    ["docker.io", login],
    ["ghcr.io", login],
    ["registry.example:5000", login],
  ]);
});

test("a password may contain colons", () => {
  const { logins } = parseCredentials(JSON.stringify({ auths: { "h.example": { auth: encode("a:b:c") } } }));
  expect(logins.get("h.example")).toEqual({ kind: "basic", basic: encode("a:b:c") });
});

test.each([
  ["not JSON", "{secret", "not JSON"],
  ["without auths", "{}", "auths"],
  ["with a login of another type", '{"auths":{"h":{"auth":1}}}', "auths.h.auth"],
  ["with a login that is not base 64 of two parts", '{"auths":{"h":{"auth":"c2VjcmV0"}}}', "auths.h.auth"],
  ["with an empty login", '{"auths":{"h":{}}}', "auths.h.auth"],
  ["with an empty user", `{"auths":{"h":{"auth":"${encode(":secret")}"}}}`, "auths.h.auth"],
  ["with a helper that is a path", '{"credsStore":"../secret"}', "credsStore"],
  ["with a helper that is an option", '{"credHelpers":{"h":"-secret"}}', "credHelpers.h"],
  [
    "with an empty login that a helper of another host has",
    '{"auths":{"h":{}},"credHelpers":{"i":"secret"}}',
    "auths.h",
  ],
  ["with a token that no header can hold", '{"auths":{"h":{"registrytoken":"secret\\n"}}}', "auths.h"],
])("a file %s is refused: the field is named, and no value is shown", (_what, text, field) => {
  expect(() => parseCredentials(text)).toThrow(
    expect.objectContaining({ reason: "configuration_invalid", message: expect.stringContaining(field) }),
  );
  expect(() => parseCredentials(text)).not.toThrow(/secret|c2VjcmV0/);
});

test("tokens are read, and come before the user that Docker leaves beside them", () => {
  const auths = {
    "a.example": { auth: encode("00000000-0000-0000-0000-000000000000:"), identitytoken: "refresh" },
    "b.example": { registrytoken: "bearer" },
  };
  expect([...parseCredentials(JSON.stringify({ auths })).logins.values()]).toEqual([
    { kind: "identity", refreshToken: "refresh" },
    { kind: "bearer", token: "bearer" },
  ]);
});

test("a file may leave logins to helpers, of one registry or of all", () => {
  const text = JSON.stringify({
    auths: { "ghcr.io": {} },
    credHelpers: { "https://h:5000": "ecr-login" },
    credsStore: "pass",
  });
  const { logins, helpers, store } = parseCredentials(text);
  expect([logins.size, [...helpers], store]).toEqual([0, [["h:5000", "ecr-login"]], "pass"]);
});
