import fc from "fast-check";
import { expect, test } from "vitest";
import { parseChallenges } from "../../../../runtime/registry/challenge.ts";

/** As registries really send them. */
const REAL: readonly [string, string, object[]][] = [
  [
    "Docker Hub",
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
    [
      {
        scheme: "bearer",
        parameters: {
          realm: "https://auth.docker.io/token",
          service: "registry.docker.io",
          scope: "repository:library/alpine:pull",
        },
      },
    ],
  ],
  [
    "a registry with a password file",
    'Basic realm="Registry Realm"',
    [{ scheme: "basic", parameters: { realm: "Registry Realm" } }],
  ],
  [
    "GitLab, which names an error too",
    'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:a/b:pull,push",error="invalid_token"',
    [
      {
        scheme: "bearer",
        parameters: expect.objectContaining({ scope: "repository:a/b:pull,push", error: "invalid_token" }),
      },
    ],
  ],
  [
    "two challenges in one header",
    'Basic realm="a, b", Bearer realm = "https://x/y?z=\\"1\\"" , service=plain',
    [
      { scheme: "basic", parameters: { realm: "a, b" } },
      { scheme: "bearer", parameters: { realm: 'https://x/y?z="1"', service: "plain" } },
    ],
  ],
  ["capital letters", 'BEARER Realm="r"', [{ scheme: "bearer", parameters: { realm: "r" } }]],
  [
    "a scheme alone",
    "Negotiate, Basic realm=x",
    [
      { scheme: "negotiate", parameters: {} },
      { scheme: "basic", parameters: { realm: "x" } },
    ],
  ],
  ["nothing", "", []],
  ["nonsense", '"="', []],
  ["an unfinished string", 'Bearer realm="open', [{ scheme: "bearer", parameters: {} }]],
];

test.each(REAL)("the challenge of %s is read", (_who, header, expected) => {
  expect(parseChallenges(header).map(({ scheme, parameters }) => ({ scheme, parameters: { ...parameters } }))).toEqual(
    expected,
  );
});

test("what is quoted is read back", () => {
  const value = fc.string({ unit: "grapheme-ascii" });
  fc.assert(
    fc.property(value, value, (realm, scope) => {
      const quote = (text: string) => `"${text.replace(/[\\"]/g, "\\$&")}"`;
      const [challenge] = parseChallenges(`Bearer realm=${quote(realm)},scope=${quote(scope)}`);
      expect(challenge?.parameters).toMatchObject({ realm, scope });
    }),
  );
});

test("any header is read without an error, in no time", () => {
  fc.assert(fc.property(fc.string({ maxLength: 2_000 }), (header) => void parseChallenges(header)));
  parseChallenges(`Bearer ${'a="\\'.repeat(4_000)}`);
});
