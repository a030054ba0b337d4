// Which images a host takes, and when it asks the registry for them.

import { afterEach, beforeEach, expect, test } from "vitest";
import type { LayerProgress } from "../../runtime/image/image.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { imageOf, makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";

const OLD = buildImage({ layers: [buildLayer([{ path: "base" }]), buildLayer([{ path: "old" }])] });
const NEW = buildImage({ layers: [buildLayer([{ path: "base" }]), buildLayer([{ path: "new" }])] });

let registry: FakeRegistry;
let host: StoreUnderTest;
let names: { reference: string; byDigest: string };

beforeEach(async () => {
  registry = await startFakeRegistry();
  host = await makeStore();
  names = registry.add("demo/a:1", OLD);
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

test("always: the tag is resolved again, and nothing is fetched while it stands for the same digest", async () => {
  const first = imageOf(await host.store.ensure(names.reference, NEVER));
  const before = registry.requests.length;
  expect(imageOf(await host.store.ensure(names.reference, NEVER, { pull: "always" }))).toEqual(first);
  expect(registry.requests.slice(before).map(({ path }) => path)).toEqual(["/v2/demo/a/manifests/1"]);
});

test("always: a tag that moved on gives the new image, of which only what is missing is fetched", async () => {
  await host.store.ensure(names.reference, NEVER);
  registry.add("demo/a:1", NEW);
  const blobs = registry.count(/blobs/);
  const image = await host.store.ensure(names.reference, NEVER, { pull: "always" });
  expect(image.digest).toBe(NEW.manifest.digest);
  expect(registry.count(/blobs/) - blobs).toBe(2); // Its config and its upper layer.
  expect((await host.store.ensure(names.reference, NEVER)).digest).toBe(NEW.manifest.digest);
});

test("always: each run asks by itself, because an answer on its way to another may be old by now", async () => {
  await host.store.ensure(names.reference, NEVER);
  const before = registry.count(/manifests\/1/);
  await Promise.all([1, 2, 3].map(() => host.store.ensure(names.reference, NEVER, { pull: "always" })));
  expect(registry.count(/manifests\/1/) - before).toBe(3);
});

test("always: of a digest nobody is asked what it means", async () => {
  await host.store.ensure(names.byDigest, NEVER);
  await registry.stop();
  expect((await host.store.ensure(names.byDigest, NEVER, { pull: "always" })).digest).toBe(OLD.manifest.digest);
});

test("never: a host that does not have the image says so and asks nobody, by tag and by digest", async () => {
  for (const reference of [names.reference, names.byDigest]) {
    const asked = host.store.ensure(reference, NEVER, { pull: "never" });
    await expect(asked).rejects.toMatchObject({ reason: "image_not_present" });
  }
  expect(registry.requests).toEqual([]);
});

test("never: what is here is used, after a restart too, and by its digest", async () => {
  const { layers } = await host.store.ensure(names.reference, NEVER);
  await registry.stop();
  expect((await host.store.ensure(names.reference, NEVER, { pull: "never" })).layers).toEqual(layers);
  expect((await host.restart().ensure(names.reference, NEVER, { pull: "never" })).layers).toEqual(layers);
  expect((await host.restart().ensure(names.byDigest, NEVER, { pull: "never" })).layers).toEqual(layers);
});

test("an image that is not allowed is refused before anything is asked, and also when it is here already", async () => {
  await host.store.ensure(names.reference, NEVER);
  const before = registry.requests.length;
  const strict = host.restart({ rules: { deny: ["**/demo/*"] } });
  for (const pull of ["missing", "always", "never"] as const) {
    await expect(strict.ensure(names.reference, NEVER, { pull })).rejects.toMatchObject({
      reason: "image_not_allowed",
      details: { rule: "deny **/demo/*" },
    });
  }
  expect(registry.requests).toHaveLength(before);
});

test("where a digest is required, a tag is refused and a digest is taken", async () => {
  const strict = host.restart({ rules: { requireDigest: true } });
  await expect(strict.ensure(names.reference, NEVER)).rejects.toMatchObject({ reason: "image_not_allowed" });
  expect((await strict.ensure(names.byDigest, NEVER)).digest).toBe(OLD.manifest.digest);
});

test("each caller of one pull is told of each layer: pulled, then present", async () => {
  const ask = async () => {
    const told: LayerProgress[] = [];
    await host.store.ensure(names.reference, NEVER, { onProgress: (progress) => told.push(progress) });
    return told;
  };
  const both = await Promise.all([ask(), ask()]);
  const layers = OLD.blobs.slice(1);
  for (const told of both) {
    for (const { digest, bytes } of layers) {
      const states = told.filter((progress) => progress.digest === digest);
      expect(states.at(-1)).toEqual({ digest, state: "done", bytes: bytes.length, size: bytes.length });
      expect(states.map((progress) => progress.bytes)).toEqual(
        states.map((progress) => progress.bytes).toSorted((a, b) => a - b),
      );
    }
  }
  const later = await ask();
  expect(later.map(({ digest, state }) => [digest, state])).toEqual(layers.map(({ digest }) => [digest, "present"]));
});
