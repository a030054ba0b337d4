// A worker that is killed in the middle of a pull, and its next life on the same directory.

import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE, UNPACK_PROGRAM } from "../helpers/image-store.ts";
import { tar } from "../helpers/tar-builder.ts";

const WHOLE = buildLayer([{ path: "whole" }]);
const HALF = buildLayer(tar([{ path: "early" }, { path: "late", content: Buffer.alloc(100_000) }]), "none");
const IMAGE = buildImage({ layers: [WHOLE, HALF] });

let host: StoreUnderTest;
let registry: FakeRegistry;
let halfSent: Promise<void>;
let isHolding: boolean;

beforeEach(async () => {
  const sent = Promise.withResolvers<void>();
  halfSent = sent.promise;
  isHolding = true;
  host = await makeStore();
  registry = await startFakeRegistry({
    intercept: ({ path }, response) => {
      if (!isHolding || !path.includes(HALF.digest)) return false;
      response.write(HALF.bytes.subarray(0, 50_000), () => sent.resolve());
      return true;
    },
  });
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
});

/** A process that pulls with our store until it is killed. */
async function startPuller(reference: string) {
  const options = {
    stateDir: host.stateDir,
    platform: IMAGE.platform,
    uidBase: UID_BASE,
    unpackProgram: UNPACK_PROGRAM,
  };
  const script = join(await mkdtemp(join(tmpdir(), "mayfly-puller-")), "pull.ts");
  const store = join(import.meta.dirname, "../../runtime/image/store.ts");
  await writeFile(
    script,
    `import { createImageStore } from ${JSON.stringify(store)};
     await createImageStore(${JSON.stringify(options)}).ensure(${JSON.stringify(reference)}, new AbortController().signal);`,
  );
  const child = startProcess([process.execPath, script], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = finished(child).finally(() => runProgram(["rm", "-r", "--", join(script, "..")]));
  return { child, ended };
}

test("a worker killed in the middle of a pull leaves whole layers and unfinished ones, and its next life removes these", async () => {
  const { reference } = registry.add("demo/a:1", IMAGE);
  const { child, ended } = await startPuller(reference);
  await halfSent;
  // The small layer comes, and the place of the other is made.
  const isUnfinished = (name: string) => name.startsWith(".");
  while (host.layerNames().every(isUnfinished) || host.layerNames().filter(isUnfinished).length !== 1)
    await new Promise(setImmediate);
  child.kill("SIGKILL");
  await ended;
  expect(host.layerNames().filter(isUnfinished)).toHaveLength(1);

  const next = host.restart();
  await next.removeLeftovers();
  expect(host.layerNames()).toEqual([WHOLE.diffId.slice("sha256:".length)]);

  isHolding = false;
  expect((await next.ensure(reference, NEVER)).layers).toHaveLength(2);
  expect(registry.count(new RegExp(WHOLE.digest))).toBe(1);
});
