import { expect, test } from "vitest";
import { createImagePolicy, type ImageRules, isImagePattern } from "../../../../runtime/image/policy.ts";
import { parseReference } from "../../../../runtime/image/reference.ts";
import { parseMirrors } from "../../../../runtime/registry/mirrors.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

function refusal(reference: string, rules: ImageRules): string | undefined {
  try {
    createImagePolicy(rules)(parseReference(reference));
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ reason: "image_not_allowed" });
    return (error as { details: { rule: string } }).details.rule;
  }
}

test.each<[reference: string, rules: ImageRules, rule: string | undefined]>([
  ["alpine", {}, undefined],
  ["alpine", { allow: ["docker.io/library/*"] }, undefined],
  ["acme/tool", { allow: ["docker.io/library/*"] }, "allow docker.io/library/*"],
  ["ghcr.io/a/b/c:1", { allow: ["ghcr.io/*"] }, "allow ghcr.io/*"],
  ["ghcr.io/a/b/c:1", { allow: ["ghcr.io/**"] }, undefined],
  ["evil.ghcr.io/a:1", { allow: ["ghcr.io/**"] }, "allow ghcr.io/**"],
  ["ghcr.io.evil.net/a:1", { allow: ["ghcr.io/**"] }, "allow ghcr.io/**"],
  ["ghcrxio.net/a", { allow: ["ghcr.io/**", "ghcr*.net/b"] }, "allow ghcr.io/**,ghcr*.net/b"],
  ["alpine", { allow: ["docker.io/library/alpine"] }, undefined],
  [`alpine@${DIGEST}`, { allow: ["docker.io/library/alpine"] }, undefined],
  ["alpine-evil", { allow: ["docker.io/library/alpine"] }, "allow docker.io/library/alpine"],
  ["alpine:3.20", { allow: ["docker.io/library/alpine:3.*"] }, undefined],
  ["alpine:edge", { allow: ["docker.io/library/alpine:3.*"] }, "allow docker.io/library/alpine:3.*"],
  ["127.0.0.1:5000/a", { allow: ["127.0.0.1:*/**"] }, undefined],
  ["alpine", { allow: ["docker.io/**"], deny: ["**/alpine"] }, "deny **/alpine"],
  ["alpine:3", { deny: ["docker.io/library/alpine:3"] }, "deny docker.io/library/alpine:3"],
  ["alpine", { requireDigest: true }, "require a digest"],
  [`alpine:3@${DIGEST}`, { requireDigest: true }, undefined],
])("%s under %j: %s", (reference, rules, rule) => {
  expect(refusal(reference, rules)).toBe(rule);
});

test("a digest beside a tag gets an image around neither list: it decides what runs, so an allowed tag says nothing of it", () => {
  const both = `alpine:3@${DIGEST}`;
  expect(refusal(both, { allow: ["docker.io/library/alpine:3"] })).toContain("allow");
  expect(refusal(both, { deny: ["docker.io/library/alpine:3"] })).toContain("deny");
  expect(refusal(both, { deny: [`docker.io/library/alpine@${DIGEST}`] })).toContain("deny");
});

test.each([
  ["GHCR.IO/a/b", "ghcr.io/**"],
  ["ghcr.io/a/b", "GHCR.IO/**"],
  ["ghcr.io/a/b", "GHCR.*/**"],
  ["ghcr.io:443/a/b", "ghcr.io/a/b"],
  ["ghcr.io/a/b", "ghcr.io:443/a/b"],
  ["registry-1.docker.io/library/alpine", "docker.io/library/*"],
  ["alpine", "index.docker.io/library/*"],
  ["2130706433:5000/a", "127.0.0.1:5000/a"],
  ["[::0001]:5000/a", "[0::1]:5000/a"],
  ["Local/a", "LOCAL/a"],
  ["mirror.internal:5000/hub/library/alpine", "docker.io/library/alpine"],
  [`mirror.internal:5000/hub/library/alpine:3@${DIGEST}`, "docker.io/library/alpine:3"],
  ["mirror.example/library/alpine", "docker.io/library/*"],
])("%s is denied by %s, which is the same registry by another name", (reference, pattern) => {
  const mirrors = parseMirrors(["docker.io=mirror.internal:5000/hub", "docker.io=mirror.example"]);
  expect(() => createImagePolicy({ deny: [pattern] }, mirrors)(parseReference(reference))).toThrow(
    expect.objectContaining({
      reason: "image_not_allowed",
      details: expect.objectContaining({ rule: `deny ${pattern}` }),
    }),
  );
});

test("what is allowed of a registry is not allowed of its mirror by the mirror's own name, nor of another port", () => {
  const policy = createImagePolicy(
    { allow: ["docker.io/**", "ghcr.io/**"] },
    parseMirrors(["docker.io=mirror.example"]),
  );
  for (const reference of ["mirror.example/library/alpine", "ghcr.io:8443/a"])
    expect(() => policy(parseReference(reference))).toThrow(/not allowed/);
});

test.each([
  ["**"],
  ["*/**"],
  ["docker.io/**"],
  ["*.example.com/**"],
  ["127.0.0.1:5000/a"],
  ["[::1]:5000/a"],
  ["localhost/*"],
  ["**/alpine:3.*"],
  ["**@sha256:*"],
  [`**@${DIGEST}`],
  ["ghcr.io/acme/**:1.*"],
])("%s is a pattern", (pattern) => {
  expect(isImagePattern(pattern)).toBe(true);
});

test.each([
  ["", "empty"],
  ["alpine", "a normalised reference names its registry"],
  ["library/alpine", "the first component is no host"],
  ["docker.io", "a host alone is no reference"],
  ["docker.io/", "an empty component"],
  ["docker.io//a", "an empty component"],
  ["docker.io/alpine", "a reference has library/ there"],
  ["Index.docker.io/*:3", "a reference has library/ there"],
  ["docker.io/Library/*", "repositories have no capital letters"],
  ["docker.io/a:", "an empty tag"],
  ["docker.io/a@sha256:abc", "half a digest"],
  ["docker.io/a@md5:*", "a digest that is none"],
  ["docker.io/a***", "three stars"],
  ["docker.io/a b", "a blank"],
  ["docker.io/(a|b)", "a regular expression"],
  [`docker.io/${"*a".repeat(5)}`, "too many wildcards"],
])("%s is no pattern: %s", (pattern) => {
  expect(isImagePattern(pattern)).toBe(false);
  expect(() => createImagePolicy({ deny: [pattern] })).toThrow(/no reference matches/);
});
