import { expect, test } from "vitest";
import { overlaySnapshot } from "../../../../runtime/snapshot/overlay.ts";

test("a snapshot names the layers with the top one first, and how much may be written above them", () => {
  const image = {
    reference: "docker.io/library/a:latest",
    digest: "sha256:1",
    manifestDigest: "sha256:1",
    config: { env: [], entrypoint: [], command: [], workdir: "/", user: "" },
    layers: ["/base", "/middle", "/top"],
  };
  expect(overlaySnapshot(image, { sizeBytes: 1024 })).toEqual({
    kind: "overlay",
    lower: ["/top", "/middle", "/base"],
    sizeBytes: 1024,
  });
  expect(image.layers[0]).toBe("/base");
});
