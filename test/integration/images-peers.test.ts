// A host with others beside it: what has a digest is had from them, and verified like anything else.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MayflyError } from "../../core/errors.ts";
import type { Bytes, Peers } from "../../runtime/image/peers.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const IMAGE = buildImage({ layers: [buildLayer([{ path: "one" }])] });
const DIGESTS = [IMAGE.manifest, ...IMAGE.blobs].map(({ digest }) => digest);

/** A peer that has some bytes, and what it was told. */
class FakePeers implements Peers {
  readonly has = new Map<string, Buffer>();
  readonly told: string[] = [];
  /** Of what is endless: how many bytes were taken. */
  readonly given = { bytes: 0 };
  /** Every blob that it has breaks off after its first byte. */
  breaksOff = false;
  /** Every blob that it has goes on for ever. */
  isEndless = false;

  async open(
    digest: string,
    signal: AbortSignal,
    fromRegistry: (signal: AbortSignal) => Promise<Bytes>,
  ): Promise<Bytes> {
    const bytes = this.has.get(digest);
    if (bytes && this.breaksOff) return broken(bytes);
    if (bytes && this.isEndless) return endless(bytes, this.given);
    return bytes ? only(bytes) : fromRegistry(signal);
  }

  async gained(digests: readonly string[]): Promise<void> {
    this.told.push(...digests.map((digest) => `gained ${digest}`));
  }

  async lost(digests: readonly string[]): Promise<void> {
    this.told.push(...digests.map((digest) => `lost ${digest}`));
  }
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function* endless(bytes: Buffer, given: { bytes: number }): AsyncGenerator<Buffer> {
  for (; given.bytes < 10_000_000; given.bytes += bytes.length) yield bytes; // As good as.
}

async function* broken(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes.subarray(0, 1);
  throw new MayflyError("registry_unavailable", "the peer is gone", { details: { peer: "fake" } });
}

let registry: FakeRegistry;
let host: StoreUnderTest;
let peers: FakePeers;

beforeEach(async () => {
  registry = await startFakeRegistry();
  peers = new FakePeers();
  host = await makeStore({ peers });
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

test("an image whose content a peer has is had without the registry, but for its tag", async () => {
  const { reference, byDigest } = registry.add("demo/a:1", IMAGE);
  for (const { digest, bytes } of [IMAGE.manifest, ...IMAGE.blobs]) peers.has.set(digest, bytes);
  await host.store.ensure(byDigest, NEVER);
  expect(registry.requests).toEqual([]);
  await host.store.ensure(reference, NEVER);
  expect(registry.requests.map(({ path }) => path)).toEqual(["/v2/demo/a/manifests/1"]);
});

test("what a peer does not have comes from the registry, and the peers are told what is here, and what no longer is", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  (await host.store.ensure(byDigest, NEVER)).release();
  const gained = DIGESTS.map((digest) => `gained ${digest}`);
  expect(peers.told.toSorted()).toEqual(gained.toSorted());
  await host.store.admin.remove(byDigest);
  const lost = DIGESTS.map((digest) => `lost ${digest}`);
  expect(peers.told.toSorted()).toEqual([...gained, ...lost].toSorted());
});

test("after a restart the peers are told of all that is here", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  await host.store.ensure(byDigest, NEVER);
  peers.told.length = 0;
  await host.restart().removeLeftovers();
  expect(peers.told.toSorted()).toEqual(DIGESTS.map((digest) => `gained ${digest}`).toSorted());
});

test("a peer that lies, about a document or a layer, is found out, and the registry is asked", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  for (const digest of DIGESTS) peers.has.set(digest, Buffer.from("a lie"));
  expect((await host.store.ensure(byDigest, NEVER)).layers).toHaveLength(1);
  expect((await host.store.admin.verify({ repair: false }, NEVER)).faults).toEqual([]);
});

test("peers that die in the middle, one after the other, of a document or a layer, fail no pull that the registry can serve", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  for (const { digest, bytes } of [IMAGE.manifest, ...IMAGE.blobs]) peers.has.set(digest, bytes);
  peers.breaksOff = true;
  expect((await host.store.ensure(byDigest, NEVER)).layers).toHaveLength(1);
  for (const { digest } of IMAGE.blobs) expect(registry.count(new RegExp(digest)), digest).toBe(1);
  expect((await host.store.admin.verify({ repair: false }, NEVER)).faults).toEqual([]);
});

test.each(["dies in the middle", "never comes to an end"])(
  "a blob that is repaired comes from the registry if the peer %s",
  async (what) => {
    const { byDigest } = registry.add("demo/a:1", IMAGE);
    (await host.store.ensure(byDigest, NEVER)).release();
    const [layer] = IMAGE.blobs.filter(({ mediaType }) => mediaType.includes("layer"));
    if (!layer) throw new Error("the image has a layer");
    await rm(join(host.stateDir, "content/sha256", layer.digest.slice("sha256:".length)));
    peers.has.set(layer.digest, layer.bytes);
    peers.breaksOff = what === "dies in the middle";
    peers.isEndless = !peers.breaksOff;
    await host.store.admin.verify({ repair: true }, NEVER);
    expect((await host.store.admin.verify({ repair: true }, NEVER)).faults).toEqual([]);
    expect(registry.count(new RegExp(layer.digest))).toBe(2);
    expect(peers.given.bytes).toBeLessThanOrEqual(2 * layer.bytes.length);
  },
);

test("a run that is never to pull asks no peer either", async () => {
  const { byDigest } = registry.add("demo/a:1", IMAGE);
  for (const { digest, bytes } of [IMAGE.manifest, ...IMAGE.blobs]) peers.has.set(digest, bytes);
  await expect(host.store.ensure(byDigest, NEVER, { pull: "never" })).rejects.toMatchObject({
    reason: "image_not_present",
  });
});
