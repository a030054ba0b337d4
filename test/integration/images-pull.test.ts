import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  buildImage,
  buildIndex,
  buildLayer,
  busyboxImage,
  HOST_PLATFORM,
  pushImage,
} from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";

let registry: Registry;
let host: StoreUnderTest;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());
beforeEach(async () => {
  host = await makeStore();
});
afterEach(() => host.remove());

test("an image pulled by tag has its config, its digests and its layers on disk", async () => {
  const built = await busyboxImage({
    Env: ["A=1"],
    Entrypoint: ["/bin/sh"],
    Cmd: ["-c", "true"],
    WorkingDir: "home/app",
    User: "app",
  });
  const { reference, digest } = await pushImage(registry, "demo/busybox:1", built);
  const image = await host.store.ensure(reference, NEVER);
  expect(image).toMatchObject({ reference, digest, manifestDigest: digest });
  expect(image.config).toEqual({
    env: ["A=1"],
    entrypoint: ["/bin/sh"],
    command: ["-c", "true"],
    workdir: "/home/app",
    user: "app",
  });
  expect(image.layers).toHaveLength(1);
  const root = image.layers[0] ?? "";
  expect(await readFile(join(root, "bin/busybox"))).toEqual(await readFile("/bin/busybox"));
  expect(await stat(join(root, "home/app"))).toMatchObject({ uid: UID_BASE + 1000, gid: UID_BASE + 1000 });
});

test.each(["oci", "docker"] as const)(
  "an image of the %s format is pulled, with gzip and with plain layers",
  async (format) => {
    const layers = [
      buildLayer([{ path: "a", content: "1" }], "gzip"),
      buildLayer([{ path: "b", content: "2" }], "none"),
    ];
    const { reference } = await pushImage(registry, `demo/${format}:1`, buildImage({ layers, format }));
    const image = await host.store.ensure(reference, NEVER);
    expect(await readFile(join(image.layers[0] ?? "", "a"), "utf8")).toBe("1");
    expect(await readFile(join(image.layers[1] ?? "", "b"), "utf8")).toBe("2");
  },
);

test.each(["oci", "docker"] as const)(
  "an index of the %s format is followed to the host's platform",
  async (format) => {
    const foreign = buildImage({
      format,
      layers: [buildLayer([{ path: "wrong" }])],
      platform: { os: "linux", architecture: "s390x" },
    });
    const own = buildImage({ format, layers: [buildLayer([{ path: "right" }])], platform: HOST_PLATFORM });
    const { reference, digest } = await pushImage(
      registry,
      `demo/index-${format}:1`,
      buildIndex([foreign, own], format),
    );
    const image = await host.store.ensure(reference, NEVER);
    expect(image).toMatchObject({ digest, manifestDigest: own.manifest.digest });
    expect(await stat(join(image.layers[0] ?? "", "right"))).toBeTruthy();
  },
);

test("an image without layers has one empty layer that belongs to the containers' root", async () => {
  const { reference } = await pushImage(registry, "demo/scratch:1", buildImage({ layers: [] }));
  const image = await host.store.ensure(reference, NEVER);
  expect(image.layers).toHaveLength(1);
  expect(await stat(image.layers[0] ?? "")).toMatchObject({ uid: UID_BASE, gid: UID_BASE });
});
