import { once } from "node:events";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeRegistry, type Intercept, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const SHARED = buildLayer([{ path: "shared", content: "s".repeat(100_000) }]);
const ONE = buildImage({ layers: [SHARED, buildLayer([{ path: "one" }])] });
const ONLY_TWO = buildLayer([{ path: "two" }]);
const TWO = buildImage({ layers: [SHARED, ONLY_TWO] });

let host: StoreUnderTest;
let registry: FakeRegistry;
let intercept: Intercept;

beforeEach(async () => {
  intercept = () => false;
  host = await makeStore();
  registry = await startFakeRegistry({ intercept: (request, response) => intercept(request, response) });
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

const blobPath = (digest: string) => new RegExp(`blobs/${digest}`);

/** Holds back the answers to requests of this path until released, and tells when the first has come. */
function hold(path: RegExp): { asked: Promise<void>; release: () => void } {
  const asked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  intercept = (request, response) => {
    if (!path.test(request.path)) return false;
    asked.resolve();
    void released.promise.then(() => response.end(SHARED.bytes));
    return true;
  };
  return { asked: asked.promise, release: released.resolve };
}

test("eight callers of one image at the same time fetch every document and blob once", async () => {
  const { reference } = registry.add("demo/a:1", ONE);
  const images = await Promise.all(Array.from({ length: 8 }, () => host.store.ensure(reference, NEVER)));
  expect(new Set(images.map((image) => JSON.stringify(image))).size).toBe(1);
  expect(registry.requests).toHaveLength(2 + ONE.blobs.length); // What the tag stands for, and what that is.
});

test("a layer that two images of different repositories share is fetched once, at the same time or later", async () => {
  const one = registry.add("demo/a:1", ONE).reference;
  const two = registry.add("demo/b:1", TWO).reference;
  const [a, b] = await Promise.all([host.store.ensure(one, NEVER), host.store.ensure(two, NEVER)]);
  expect(a.layers[0]).toBe(b.layers[0]);
  expect(registry.count(blobPath(SHARED.digest))).toBe(1);
  await host.store.ensure(registry.add("demo/c:1", buildImage({ layers: [SHARED] })).reference, NEVER);
  expect(registry.count(blobPath(SHARED.digest))).toBe(1);
});

test("layers of different compression with the same content are one directory", async () => {
  const plain = buildLayer([{ path: "shared", content: "s".repeat(100_000) }], "none");
  const a = await host.store.ensure(registry.add("demo/a:1", ONE).reference, NEVER);
  const b = await host.store.ensure(registry.add("demo/b:1", buildImage({ layers: [plain] })).reference, NEVER);
  expect(b.layers[0]).toBe(a.layers[0]);
});

test("a caller that gives up does not end the download of the others", async () => {
  const held = hold(blobPath(SHARED.digest));
  const { reference } = registry.add("demo/a:1", ONE);
  const impatient = new AbortController();
  const given = host.store.ensure(reference, impatient.signal);
  const patient = host.store.ensure(reference, NEVER);
  await held.asked;
  impatient.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  held.release();
  expect((await patient).layers).toHaveLength(2);
  expect(registry.count(blobPath(SHARED.digest))).toBe(1);
});

test("an image that shares a layer with one that is given up still gets it", async () => {
  const held = hold(blobPath(SHARED.digest));
  const impatient = new AbortController();
  const given = host.store.ensure(registry.add("demo/a:1", ONE).reference, impatient.signal);
  await held.asked;
  const patient = host.store.ensure(registry.add("demo/b:1", TWO).reference, NEVER);
  impatient.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  held.release();
  expect((await patient).layers).toHaveLength(2);
});

test("when the last caller gives up, the download ends and nothing half-made is left", async () => {
  const closed = Promise.withResolvers<void>();
  intercept = (request, response) => {
    if (!blobPath(SHARED.digest).test(request.path)) return false;
    response.write(SHARED.bytes.subarray(0, 20));
    void once(response, "close").then(() => closed.resolve());
    sent.resolve();
    return true;
  };
  const sent = Promise.withResolvers<void>();
  const caller = new AbortController();
  const given = host.store.ensure(registry.add("demo/a:1", ONE).reference, caller.signal);
  await sent.promise;
  caller.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  await closed.promise;
  expect(host.layerNames().filter((name) => name.startsWith("."))).toEqual([]);
});

test("a signal that has aborted before asks nothing", async () => {
  const { reference } = registry.add("demo/a:1", ONE);
  await expect(host.store.ensure(reference, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
  expect(registry.requests).toEqual([]);
});

test("a layer that one registry spoils is fetched from the registry of the other image that waits for it", async () => {
  const spoiling = await startFakeRegistry({ intercept: (request, response) => intercept(request, response) });
  try {
    const asked = Promise.withResolvers<void>();
    const joined = Promise.withResolvers<void>();
    intercept = ({ path }, response) => {
      if (blobPath(ONLY_TWO.digest).test(path)) joined.resolve();
      if (!blobPath(SHARED.digest).test(path) || registry.count(blobPath(SHARED.digest)) > 0) return false;
      asked.resolve();
      void joined.promise.then(() => response.end("spoilt"));
      return true;
    };
    const spoilt = host.store.ensure(spoiling.add("demo/bad:1", ONE).reference, NEVER);
    const refused = expect(spoilt).rejects.toMatchObject({ reason: "image_corrupt" });
    await asked.promise;
    const good = await host.store.ensure(registry.add("demo/b:1", TWO).reference, NEVER);
    await refused;
    expect(good.layers).toHaveLength(2);
    expect(registry.count(blobPath(SHARED.digest))).toBe(1);
  } finally {
    await spoiling.stop();
  }
});
