import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digestOf } from "../../runtime/content/digest.ts";
import type { TransportLimits } from "../../runtime/registry/transport.ts";
import { type FakeRegistry, type Intercept, refuse, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildIndex, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const LAYER = buildLayer([{ path: "f", content: "x".repeat(50_000) }]);
const IMAGE = buildImage({ layers: [LAYER] });

/** As quick as a test wants it; the number of attempts is the real one. */
const LIMITS: Partial<TransportLimits> = { retryDelaysMs: [1, 1] };

/** Of a registry that hangs alone: another could be late on a busy machine. */
const HASTY: Partial<TransportLimits> = { ...LIMITS, requestMs: 500, idleMs: 500 };

let registry: FakeRegistry;
let host: StoreUnderTest;
let intercept: Intercept;

beforeEach(async () => {
  intercept = () => false;
  registry = await startFakeRegistry({ intercept: (request, response) => intercept(request, response) });
  host = await makeStore({ registries: { limits: LIMITS } });
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

async function failure(reference = registry.add("demo/a:1", IMAGE).reference, store = host.store) {
  const thrown = await store.ensure(reference, NEVER).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(host.layerNames()).toEqual([]);
  return thrown;
}

/** Answers requests whose path matches with this status. */
function refusing(path: RegExp, status: number): void {
  intercept = (request, response) => {
    if (!path.test(request.path)) return false;
    refuse(response, status, "NOPE");
    return true;
  };
}

test("a tag that is not there is not found, in the registry's words", async () => {
  const expected = {
    reason: "image_not_found",
    message: expect.stringContaining("MANIFEST_UNKNOWN"),
    details: { status: 404 },
  };
  expect(await failure(`${registry.host}/demo/none:1`)).toMatchObject(expected);
});

test.each([
  ["config", IMAGE.blobs[0]?.digest ?? ""],
  ["layer", LAYER.digest],
])("a %s that its manifest names and the registry does not have is not found", async (_what, digest) => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  registry.forget(digest);
  expect(await failure(reference)).toMatchObject({
    reason: "image_not_found",
    message: expect.stringContaining(digest),
  });
});

test.each([
  [403, "image_access_denied", 1],
  [429, "registry_unavailable", 1],
  [418, "image_unsupported", 2],
  [500, "registry_unavailable", 3],
  [503, "registry_unavailable", 3],
])("status %i is %s, after asking %i times", async (status, reason, times) => {
  refusing(/manifests/, status);
  expect(await failure()).toMatchObject({ reason, details: { status } });
  expect(registry.count(/manifests/)).toBe(times);
});

test("a registry that answers 500 once is asked again, and the pull succeeds", async () => {
  const failed = new Set<string>();
  intercept = ({ path }, response) => {
    if (failed.has(path)) return false;
    failed.add(path);
    refuse(response, 500, "ONCE");
    return true;
  };
  const { reference } = registry.add("demo/a:1", IMAGE);
  expect((await host.store.ensure(reference, NEVER)).layers).toHaveLength(1);
});

test("a registry that is down is unavailable", async () => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  await registry.stop();
  expect(await failure(reference)).toMatchObject({
    reason: "registry_unavailable",
    message: expect.stringContaining("ECONNREFUSED"),
  });
});

const send = (bytes: string | Buffer) => (response: ServerResponse) => void response.write(bytes);

test.each([
  ["before its headers", /manifests/, () => {}, 1],
  ["in the middle of a manifest", /manifests/, send("{"), 1],
  ["in the middle of a layer", new RegExp(LAYER.digest), send(LAYER.bytes.subarray(0, 9)), 8],
])("a registry that hangs %s is given up after the time limit", async (_where, path, begin, times) => {
  intercept = (request, response) => {
    if (!path.test(request.path)) return false;
    begin(response);
    return true;
  };
  const { reference } = registry.add("demo/a:1", IMAGE);
  expect(await failure(reference, host.restart({ registries: { limits: HASTY } }))).toMatchObject({
    reason: "registry_unavailable",
    message: expect.stringContaining("no answer within 500 ms"),
  });
  expect(registry.count(path)).toBe(times);
});

/** Cuts the connection in the middle of the layer, this many times. */
function cutting(times: number): void {
  intercept = ({ path }, response) => {
    if (!path.includes(LAYER.digest) || times-- <= 0) return false;
    response.writeHead(200, { "content-length": LAYER.bytes.length });
    response.write(LAYER.bytes.subarray(0, 100), () => response.destroy());
    return true;
  };
}

test("a layer whose connection is lost once is fetched again, also from a registry that knows no ranges", async () => {
  cutting(1);
  const { reference } = registry.add("demo/a:1", IMAGE);
  expect((await host.store.ensure(reference, NEVER)).layers).toHaveLength(1);
  expect(host.layerNames()).toHaveLength(1);
});

test("a connection that is always lost in the middle of a layer is the registry's fault, not the layer's", async () => {
  cutting(Number.POSITIVE_INFINITY);
  expect(await failure()).toMatchObject({ reason: "registry_unavailable" });
  expect(registry.count(new RegExp(LAYER.digest))).toBeLessThanOrEqual(10); // Two downloads, each with two resumes in vain.
});

test.each([
  ["other bytes of the same size", Buffer.from(LAYER.bytes).fill(7, 40, 45)],
  ["too few bytes", LAYER.bytes.subarray(0, -1)],
  ["too many bytes", Buffer.concat([LAYER.bytes, Buffer.from("x")])],
  ["no bytes", Buffer.alloc(0)],
])("a layer of %s is corrupt, and nothing of it is kept", async (_what, bytes) => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  registry.lie(LAYER.digest, bytes);
  expect(await failure(reference)).toMatchObject({ reason: "image_corrupt" });
});

test("a layer whose content is not what the config's DiffID says is corrupt", async () => {
  const other = buildLayer([{ path: "other" }]);
  const image = buildImage({
    layers: [LAYER],
    configOverrides: { rootfs: { type: "layers", diff_ids: [other.diffId] } },
  });
  expect(await failure(registry.add("demo/b:1", image).reference)).toMatchObject({
    reason: "image_corrupt",
    details: { expected: other.diffId, actual: LAYER.diffId },
  });
});

test("bytes behind the end of a gzip layer count: its digest holds or the layer is refused", async () => {
  const padded = Buffer.concat([LAYER.bytes, Buffer.alloc(100)]);
  const layer = { ...LAYER, bytes: padded, digest: digestOf(padded) };
  const good = registry.add("demo/padded:1", buildImage({ layers: [layer] })).reference;
  registry.lie(layer.digest, Buffer.concat([LAYER.bytes, Buffer.alloc(100, 1)]));
  expect(await failure(good)).toMatchObject({ reason: "image_corrupt" });
  registry.lie(layer.digest, padded);
  expect((await host.store.ensure(good, NEVER)).layers).toHaveLength(1);
});

test("a gzip layer of several members is read to its end", async () => {
  const plain = buildLayer([{ path: "f", content: "x".repeat(50_000) }], "none").bytes;
  const bytes = Buffer.concat([gzipSync(plain.subarray(0, 600)), gzipSync(plain.subarray(600))]);
  const image = buildImage({ layers: [{ ...LAYER, bytes, digest: digestOf(bytes) }] });
  expect((await host.store.ensure(registry.add("demo/members:1", image).reference, NEVER)).layers).toHaveLength(1);
});

test("a manifest asked for by digest must have that digest", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  registry.lie(IMAGE.manifest.digest, buildImage({ layers: [] }).manifest.bytes);
  expect(await failure(byDigest)).toMatchObject({
    reason: "image_corrupt",
    details: { expected: IMAGE.manifest.digest },
  });
});

test("a config must have the digest and the size of its descriptor", async () => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  const config = IMAGE.blobs[0];
  registry.lie(config?.digest ?? "", Buffer.from(config?.bytes ?? "").fill(" ", 0, 1));
  expect(await failure(reference)).toMatchObject({ reason: "image_corrupt" });
  registry.lie(config?.digest ?? "", Buffer.from("{}"));
  expect(await failure(reference)).toMatchObject({ reason: "image_corrupt" });
});

test("a manifest larger than any registry must take is corrupt", async () => {
  intercept = (_request, response) => {
    response.end(Buffer.alloc(4 * 2 ** 20 + 1, " "));
    return true;
  };
  expect(await failure()).toMatchObject({ reason: "image_corrupt", message: expect.stringContaining("4194304") });
});

test("a manifest must have the size that its index says", async () => {
  const index = buildIndex([IMAGE]);
  const document = JSON.parse(index.manifest.bytes.toString());
  document.manifests[0].size++;
  const bytes = Buffer.from(JSON.stringify(document));
  const manifest = { ...index.manifest, bytes, digest: digestOf(bytes) };
  const { reference } = registry.add("demo/sized:1", { ...index, manifest });
  expect(await failure(reference)).toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining("bytes, not"),
  });
});

test("of an index of very many variants, some are told", async () => {
  const [entry] = JSON.parse(buildIndex([IMAGE]).manifest.bytes.toString()).manifests;
  const manifests = Array.from({ length: 1_000 }, (_, n) => ({
    ...entry,
    platform: { os: "linux", architecture: `a${n}` },
  }));
  const index = buildIndex([IMAGE]);
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  const manifest = { ...index.manifest, bytes, digest: digestOf(bytes) };
  const { reference } = registry.add("demo/many:1", { ...index, manifest });
  expect(await failure(reference)).toMatchObject({
    message: expect.stringMatching(/it has linux\/a0, .*linux\/a19, 980 more$/),
  });
});

test("an index without a variant for this host is unsupported, and says what there is", async () => {
  const foreign = buildImage({ layers: [], platform: { os: "linux", architecture: "s390x" } });
  const { reference } = registry.add("demo/foreign:1", buildIndex([foreign]));
  expect(await failure(reference)).toMatchObject({
    reason: "image_unsupported",
    message: expect.stringContaining("it has linux/s390x"),
  });
});

test("a layer that is not compressed as its type says is refused, and the type is what it is read by", async () => {
  const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd";
  const layers = [{ mediaType, digest: LAYER.digest, size: LAYER.bytes.length }];
  const image = buildImage({ layers: [LAYER], manifestOverrides: { layers } });
  expect(await failure(registry.add("demo/zstd:1", image).reference)).toMatchObject({
    reason: "image_corrupt",
    message: expect.stringContaining("not a valid zstd stream"),
  });
});

test("a zstd layer is read, skippable frames and several frames included", async () => {
  const plain = buildLayer([{ path: "f", content: "x".repeat(50_000) }], "none");
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const halves = [plain.bytes.subarray(0, 600), plain.bytes.subarray(600)].map((half) => zstdCompressSync(half));
  const bytes = Buffer.concat([skippable, ...halves, skippable]);
  const digest = digestOf(bytes);
  const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd";
  const layers = [{ mediaType, digest, size: bytes.length }];
  const image = buildImage({ layers: [{ ...plain, bytes, digest }], manifestOverrides: { layers } });
  const [root = ""] = (await host.store.ensure(registry.add("demo/zstd:1", image).reference, NEVER)).layers;
  expect(await readFile(join(root, "f"), "utf8")).toBe("x".repeat(50_000));
});

test("a redirect to plain HTTP on a host where it is not allowed is not followed", async () => {
  intercept = ({ path }, response) => {
    if (!path.includes("blobs")) return false;
    response.writeHead(307, { location: "http://registry.invalid/blob" }).end();
    return true;
  };
  expect(await failure()).toMatchObject({ message: expect.stringContaining("plain HTTP is not allowed") });
});

test("redirects without end are given up", async () => {
  intercept = ({ path }, response) => {
    response.writeHead(302, { location: path }).end();
    return true;
  };
  expect(await failure()).toMatchObject({
    reason: "registry_unavailable",
    message: expect.stringContaining("redirects"),
  });
});

test("an aborted pull rejects with the signal's reason, while the registry hangs or between attempts", async () => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  const caller = new AbortController();
  intercept = () => {
    caller.abort(new Error("enough"));
    return true;
  };
  await expect(host.store.ensure(reference, caller.signal)).rejects.toThrow("enough");
  const patient = await makeStore({ registries: { limits: { ...LIMITS, retryDelaysMs: [60_000] } } });
  const second = new AbortController();
  intercept = (_request, response) => {
    refuse(response, 500, "ONCE");
    setImmediate(() => second.abort(new Error("enough")));
    return true;
  };
  await expect(patient.store.ensure(reference, second.signal)).rejects.toThrow("enough");
  await patient.remove();
});

test("an insecure registry that is not on the loopback network must be listed", async () => {
  const server = createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  const { port } = server.address() as AddressInfo;
  const name = `0.0.0.0:${port}`;
  expect(await failure(`${name}/a:1`)).toMatchObject({ reason: "registry_unavailable" });
  const listed = host.restart({ registries: { limits: LIMITS, insecure: [name] } });
  await expect(listed.ensure(`${name}/a:1`, NEVER)).rejects.toMatchObject({ reason: "image_not_found" });
  server.close();
  server.closeAllConnections();
});
