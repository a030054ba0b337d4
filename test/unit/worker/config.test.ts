import { expect, test } from "vitest";
import { readConfig } from "../../../core/config.ts";
import { WORKER_SETTINGS } from "../../../worker/config.ts";

const read = (env: Record<string, string>) => readConfig(WORKER_SETTINGS, env);

test("rules on images are lists of patterns, and none by default", () => {
  expect(read({ MAYFLY_IMAGES_ALLOW: "docker.io/library/*,ghcr.io/acme/**" }).imagesAllow).toHaveLength(2);
  expect(read({})).toMatchObject({ imagesRequireDigest: false });
  expect(read({}).imagesAllow).toBeUndefined();
});

test.each([
  ["MAYFLY_IMAGES_ALLOW", ""],
  ["MAYFLY_IMAGES_ALLOW", "docker.io/**,"],
  ["MAYFLY_IMAGES_DENY", "alpine"],
  ["MAYFLY_IMAGES_REQUIRE_DIGEST", "yes"],
  ["MAYFLY_IMAGES_DISK", "10"],
])("a worker does not start with %s=%j", (variable, value) => {
  expect(() => read({ [variable]: value })).toThrow(expect.objectContaining({ reason: "configuration_invalid" }));
});
