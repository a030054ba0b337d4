// Mirrors that work, fail, lack something or lie: an image comes from somewhere that has it, and no login goes where it does not belong.

import type { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digestOf } from "../../runtime/content/digest.ts";
import { parseCredentials } from "../../runtime/registry/auth-file.ts";
import { createRegistryClient, type RegistryClient } from "../../runtime/registry/client.ts";
import { createCredentials } from "../../runtime/registry/credentials.ts";
import { parseMirrors } from "../../runtime/registry/mirrors.ts";
import { type FakeRegistry, type Intercept, refuse, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";

const LAYER = buildLayer([{ path: "f", content: Buffer.alloc(200_000, 1) }], "none");
const IMAGE = buildImage({ layers: [LAYER] });
const CONFIG = IMAGE.blobs[0]?.digest ?? IMAGE.manifest.digest;
const BLOB = { digest: LAYER.digest, size: LAYER.bytes.length };

const NOBODY: Intercept = () => false;

let first: FakeRegistry;
let second: FakeRegistry;
let registry: FakeRegistry;
let intercepts: Intercept[];
let warned: [string, Record<string, unknown>][];
let client: RegistryClient;

beforeEach(async () => {
  intercepts = [NOBODY, NOBODY, NOBODY];
  [first, second, registry] = await Promise.all([start(0), start(1), start(2)]);
  first.add("hub/demo/a:1", IMAGE);
  second.add("demo/a:1", IMAGE);
  registry.add("demo/a:1", IMAGE);
  warned = [];
  client = createRegistryClient({
    mirrors: parseMirrors([`${registry.host}=${first.host}/hub`, `${registry.host}=${second.host}`]),
    limits: { retryDelaysMs: [1, 1], idleMs: 300 },
    log: { info() {}, error() {}, warn: (event, fields = {}) => void warned.push([event, fields]) },
  });
});
afterEach(async () => {
  await Promise.all([first.stop(), second.stop(), registry.stop()]);
});

function start(index: number): Promise<FakeRegistry> {
  return startFakeRegistry({ intercept: (request, response) => (intercepts[index] ?? NOBODY)(request, response) });
}

const repository = () => ({ host: registry.host, path: "demo/a" });
const manifest = () => client.manifest(repository(), IMAGE.manifest.digest, NEVER);
const counts = () => [first, second, registry].map(({ requests }) => requests.length);
const read = async (stream: Readable) => Buffer.concat(await stream.toArray());

const refusing =
  (status: number): Intercept =>
  (_request, response) => {
    refuse(response, status, "NO");
    return true;
  };

test("the first mirror is asked, below its prefix, and nobody else", async () => {
  expect(await client.resolve(repository(), "1", NEVER)).toBe(IMAGE.manifest.digest);
  expect(await manifest()).toEqual(IMAGE.manifest.bytes);
  expect(await client.smallBlob(repository(), CONFIG, { maxBytes: 10_000, signal: NEVER })).toEqual(
    IMAGE.blobs[0]?.bytes,
  );
  expect(await read(await client.blob(repository(), BLOB, NEVER))).toEqual(LAYER.bytes);
  expect(counts()).toEqual([4, 0, 0]);
  expect(first.requests.every(({ path }) => path.startsWith("/v2/hub/demo/a/"))).toBe(true);
});

test.each([401, 403, 404, 418, 429, 500])(
  "a mirror that answers %i is asked once, and then the next one",
  async (status) => {
    intercepts[0] = refusing(status);
    expect(await manifest()).toEqual(IMAGE.manifest.bytes);
    expect(counts()).toEqual([1, 1, 0]);
  },
);

test("a tag that a mirror does not have is resolved by the next", async () => {
  intercepts[0] = refusing(404);
  intercepts[1] = refusing(404);
  expect(await client.resolve(repository(), "1", NEVER)).toBe(IMAGE.manifest.digest);
  expect(counts()).toEqual([1, 1, 1]);
});

test("mirrors that are down are passed by, and left alone for a while", async () => {
  await Promise.all([first.stop(), second.stop()]);
  for (let times = 0; times < 3; times++) expect(await manifest()).toEqual(IMAGE.manifest.bytes);
  expect(counts()).toEqual([0, 0, 3]);
  expect(warned.map(([event, { mirror }]) => [event, mirror])).toEqual([
    ["registry.mirror_failed", first.host],
    ["registry.mirror_failed", second.host],
  ]);
});

test("what nobody has is not found, in the registry's own words", async () => {
  for (const one of [first, second, registry]) one.forget(IMAGE.manifest.digest);
  await expect(manifest()).rejects.toMatchObject({
    reason: "image_not_found",
    details: { host: registry.host },
    message: expect.stringContaining("MANIFEST_UNKNOWN"),
  });
});

test("a mirror whose manifest or config is not what its digest says is passed by, and not asked for it again", async () => {
  first.lie(IMAGE.manifest.digest, Buffer.from("{}"));
  first.lie(CONFIG, Buffer.from("{}"));
  for (let times = 0; times < 3; times++) expect(await manifest()).toEqual(IMAGE.manifest.bytes);
  expect(await client.smallBlob(repository(), CONFIG, { maxBytes: 10_000, signal: NEVER })).toEqual(
    IMAGE.blobs[0]?.bytes,
  );
  expect(counts()).toEqual([2, 4, 0]);
});

test("a mirror whose blob its reader distrusts is not asked for it again, and the next one is", async () => {
  const lie = Buffer.alloc(BLOB.size, 7);
  first.lie(BLOB.digest, lie);
  second.lie(BLOB.digest, lie);
  for (const expected of [lie, lie, LAYER.bytes]) {
    const stream = await client.blob(repository(), BLOB, NEVER);
    const bytes = await read(stream);
    expect(bytes).toEqual(expected);
    if (digestOf(bytes) !== BLOB.digest) expect(client.distrust(stream)).toBe(true);
  }
  expect(counts()).toEqual([1, 1, 1]);
  await manifest();
  expect(counts()).toEqual([2, 1, 1]); // It is trusted for everything else.
});

test("when the registry itself has lied, there is nobody else to ask", async () => {
  const alone = createRegistryClient();
  registry.lie(BLOB.digest, Buffer.alloc(BLOB.size, 7));
  const stream = await alone.blob(repository(), BLOB, NEVER);
  await read(stream);
  expect(alone.distrust(stream)).toBe(false);
});

test("a blob of another size is not begun, and the next mirror is asked", async () => {
  first.lie(BLOB.digest, Buffer.alloc(BLOB.size + 1));
  expect(await read(await client.blob(repository(), BLOB, NEVER))).toEqual(LAYER.bytes);
  expect(counts()).toEqual([1, 1, 0]);
});

test("a blob that a mirror cannot bring to its end is brought to its end by the next one", async () => {
  first.cut(BLOB.digest, 50_000);
  const stream = await client.blob(repository(), BLOB, NEVER);
  stream.once("data", () => {
    intercepts[0] = refusing(500);
  });
  expect(await read(stream)).toEqual(LAYER.bytes);
  expect(second.requests.map(({ headers }) => headers.range)).toEqual([expect.stringMatching(/^bytes=\d+-$/)]);
});

test("a mirror that hangs in the middle of a blob is left, and the reader sees one stream", async () => {
  intercepts[0] = ({ headers }, response) => {
    const from = Number(headers.range?.slice("bytes=".length, -1) ?? 0);
    response.writeHead(from === 0 ? 200 : 206, { "content-range": `bytes ${from}-${BLOB.size - 1}/${BLOB.size}` });
    response.write(from === 0 ? LAYER.bytes.subarray(0, 1_000) : "");
    response.flushHeaders();
    return true;
  };
  expect(await read(await client.blob(repository(), BLOB, NEVER))).toEqual(LAYER.bytes);
});

test("credentials of the registry never go to a mirror, and a mirror has its own", async () => {
  const encode = (text: string) => Buffer.from(text).toString("base64");
  const wants =
    (basic: string): Intercept =>
    ({ authorization }, response) => {
      if (authorization === `Basic ${basic}`) return false;
      response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      return true;
    };
  const [ofRegistry, ofSecond] = [encode("registry:secret"), encode("mirror:secret")];
  intercepts = [wants(encode("nobody:knows")), wants(ofSecond), wants(ofRegistry)];
  second.forget(IMAGE.manifest.digest);
  const auths = { [registry.host]: { auth: ofRegistry }, [second.host]: { auth: ofSecond } };
  client = createRegistryClient({
    mirrors: parseMirrors([`${registry.host}=${first.host}/hub`, `${registry.host}=${second.host}`]),
    credentials: createCredentials({ file: parseCredentials(JSON.stringify({ auths })) }),
  });
  expect(await manifest()).toEqual(IMAGE.manifest.bytes);
  const told = [first, second, registry].map(({ requests }) => requests.map(({ authorization }) => authorization));
  expect(told).toEqual([[undefined], [undefined, `Basic ${ofSecond}`], [undefined, `Basic ${ofRegistry}`]]);
});

test("an aborted request asks no further mirror", async () => {
  const caller = new AbortController();
  intercepts[0] = () => {
    caller.abort(new Error("enough"));
    return true;
  };
  await expect(client.manifest(repository(), "1", caller.signal)).rejects.toThrow("enough");
  expect(counts()).toEqual([1, 0, 0]);
});
