import { expect, test } from "vitest";
import { mirrorsOf, parseMirrors } from "../../../../runtime/registry/mirrors.ts";

const ALPINE = { host: "docker.io", path: "library/alpine" };

test("a repository is asked for at its registry's mirrors in their order, below their prefixes", () => {
  const mirrors = parseMirrors([
    "docker.io=mirror.internal:5000/hub/all",
    "ghcr.io=mirror.internal:5000",
    "index.docker.io=mirror.gcr.io/",
    "docker.io=[::1]:5000",
    "docker.io=localhost",
  ]);
  expect(mirrorsOf(ALPINE, mirrors)).toEqual([
    { host: "mirror.internal:5000", path: "hub/all/library/alpine" },
    { host: "mirror.gcr.io", path: "library/alpine" },
    { host: "[::1]:5000", path: "library/alpine" },
    { host: "localhost", path: "library/alpine" },
  ]);
  expect(mirrorsOf({ host: "ghcr.io", path: "a/b" }, mirrors)).toEqual([{ host: "mirror.internal:5000", path: "a/b" }]);
  expect(mirrorsOf({ host: "quay.io", path: "a/b" }, mirrors)).toEqual([]);
});

test.each([
  "docker.io",
  "=mirror.gcr.io",
  "docker.io=",
  "docker.io=mirror",
  "hub=mirror.gcr.io",
  "docker.io=https://mirror.gcr.io",
  "docker.io=mirror.gcr.io/UPPER",
  "docker.io=mirror.gcr.io/a//b",
  "docker.io=mirror.gcr.io/../b",
  "docker.io=mirror.gcr.io/a:tag",
  "docker.io=user@mirror.gcr.io",
  "docker.io=mirror.gcr.io:99999",
  "docker.io=a.example=b.example",
])("%s is refused, and named with what is expected", (entry) => {
  expect(() => parseMirrors(["ghcr.io=fine.example", entry])).toThrow(
    expect.objectContaining({
      reason: "configuration_invalid",
      message: expect.stringContaining(`${JSON.stringify(entry)} is not HOST=MIRROR_HOST[/PREFIX]`),
    }),
  );
});

test("a registry has at most eight mirrors", () => {
  const entries = Array.from({ length: 9 }, (_, index) => `docker.io=m${index}.example`);
  expect(parseMirrors(entries.slice(1)).get("docker.io")).toHaveLength(8);
  expect(() => parseMirrors(entries)).toThrow("more than 8 mirrors");
});
