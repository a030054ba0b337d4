import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isMayflyError } from "../../../../core/errors.ts";
import { apiHost, formatReference, parseReference } from "../../../../runtime/image/reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

/** As `docker pull` reads them. */
const NORMAL_FORMS: readonly [string, string][] = [
  ["alpine", "docker.io/library/alpine:latest"],
  ["alpine:3.20", "docker.io/library/alpine:3.20"],
  ["user/app", "docker.io/user/app:latest"],
  ["docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/alpine", "docker.io/library/alpine:latest"],
  ["docker.io/a/b/c", "docker.io/a/b/c:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["localhost:5000/app:1", "localhost:5000/app:1"],
  ["LOCAL/app", "LOCAL/app:latest"],
  ["Local/app", "LOCAL/app:latest"], // Only its capitals tell that it is a host.
  ["LocalHost/app", "localhost/app:latest"],
  ["GHCR.IO/a/b", "ghcr.io/a/b:latest"],
  ["Index.Docker.io/alpine", "docker.io/library/alpine:latest"],
  ["registry-1.docker.io/library/alpine", "docker.io/library/alpine:latest"],
  ["registry-1.docker.io:443/library/alpine", "docker.io/library/alpine:latest"],
  ["registry.hub.docker.com/a/b", "docker.io/a/b:latest"],
  ["ghcr.io:00443/a", "ghcr.io:443/a:latest"],
  ["0x7f.1:5000/a", "127.0.0.1:5000/a:latest"],
  ["2130706433:5000/a", "127.0.0.1:5000/a:latest"],
  ["[0:0:0:0::1]:5000/app", "[::1]:5000/app:latest"],
  ["127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"],
  ["[::1]:5000/app", "[::1]:5000/app:latest"],
  ["ghcr.io/a/b_c__d.e-f--g:V1.0_x-y", "ghcr.io/a/b_c__d.e-f--g:V1.0_x-y"],
  [`alpine@${DIGEST}`, `docker.io/library/alpine@${DIGEST}`],
  [`ghcr.io/a/b:1@${DIGEST}`, `ghcr.io/a/b:1@${DIGEST}`],
];

test.each(NORMAL_FORMS)("%s means %s", (written, normal) => {
  expect(formatReference(parseReference(written))).toBe(normal);
});

const REFUSED = [
  "",
  " ",
  "alpine ",
  "Alpine",
  "a//b",
  "/a",
  "a/",
  "a/../b",
  "-a",
  "a-",
  "a..b",
  "a___b",
  "a:",
  "a:.tag",
  "a:-tag",
  `a:${"t".repeat(129)}`,
  "a@",
  "a@sha256:abc",
  `a@${DIGEST.toUpperCase()}`,
  `a@sha512:${"0".repeat(128)}`,
  `@${DIGEST}`,
  "https://ghcr.io/a",
  "host:port/a",
  "host:99999/a",
  "ghcr.io:/a",
  "ghcr.io/",
  "-ghcr.io/a",
  "ghcr..io/a",
  "user:pass@ghcr.io/a",
  "gh\u0441r.io/a",
  "a?b",
  "a#b",
  "a%2e",
  "a\nb",
  "a\0",
  "a".repeat(256),
  "a/".repeat(100_000),
];

test.each(REFUSED.map((text) => [text.slice(0, 60), text]))("%j is refused", (_shown, text) => {
  expect(() => parseReference(text)).toThrow(expect.objectContaining({ reason: "invalid_reference" }));
});

test("Docker Hub is asked under the name of its API", () => {
  expect(apiHost("docker.io")).toBe("registry-1.docker.io");
  expect(apiHost("ghcr.io")).toBe("ghcr.io");
});

describe("whatever is parsed", () => {
  const piece = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z]{1,4})?$/);
  const host = fc.constantFrom(
    "",
    "localhost/",
    "localhost:5000/",
    "ghcr.io/",
    "GHCR.IO:0443/",
    "Some/",
    "127.1/",
    "[0::1]:1/",
    "10.0.0.1:80/",
    "docker.io/",
  );
  const tag = fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/), { nil: undefined });
  const written = fc
    .record({ host, path: fc.array(piece, { minLength: 1, maxLength: 4 }), tag, pinned: fc.boolean() })
    .map((r) => `${r.host}${r.path.join("/")}${r.tag ? `:${r.tag}` : ""}${r.pinned ? `@${DIGEST}` : ""}`);

  test("the normal form is its own normal form", () => {
    fc.assert(
      fc.property(written, (text) => {
        const normal = formatReference(parseReference(text));
        expect(formatReference(parseReference(normal))).toBe(normal);
      }),
    );
  });

  test("a reference names a tag or a digest, and its parts stay inside an URL's path", () => {
    fc.assert(
      fc.property(written, (text) => {
        const { repository, tag: name, digest } = parseReference(text);
        expect(name ?? digest).toBeDefined();
        const url = new URL(`https://${apiHost(repository.host)}/v2/${repository.path}/manifests/${digest ?? name}`);
        expect(url.pathname).toBe(`/v2/${repository.path}/manifests/${digest ?? name}`);
      }),
    );
  });

  test("any text is a reference or an error that says why", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" }), written), (text) => {
        try {
          expect(formatReference(parseReference(text))).toMatch(/^[!-~]+$/);
        } catch (error) {
          expect(isMayflyError(error) && error.reason).toBe("invalid_reference");
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
