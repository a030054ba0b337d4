// A worker that is killed again and again at any moment of a pull from a real registry: what its next life finds, and does.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { buildImage, buildLayer, pushImage } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE, UNPACK_PROGRAM } from "../helpers/image-store.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";
import { seeded } from "../helpers/seeded.ts";
import type { TarEntry } from "../helpers/tar-builder.ts";
import { differences, type TreeEntry, walkTree } from "../helpers/tree-walk.ts";

const ROUNDS = 50;
const LAYERS = 4;

let registry: Registry;
let host: StoreUnderTest;
let reference: string;

beforeAll(async () => {
  [registry, host] = await Promise.all([startRegistry(), makeStore()]);
  const layers = Array.from({ length: LAYERS }, (_, index) => buildLayer(contentOf(index)));
  ({ reference } = await pushImage(registry, "demo/crash:1", buildImage({ layers })));
});
afterAll(async () => {
  await registry.stop();
  await host.remove();
});

/** Two megabytes that do not compress, in twenty files, with links, and a whiteout of the layer below. */
function contentOf(layer: number): TarEntry[] {
  const files = Array.from({ length: 20 }, (_, index) => ({
    path: `d${index % 7}/layer${layer}-${index}`,
    content: randomBytes(100_000),
    uid: index,
    modified: index,
  }));
  const link: TarEntry = { path: "z/link", type: "hardlink", linkTarget: `d0/layer${layer}-0` };
  return [...files, link, { path: `d1/.wh.layer${layer - 1}-1` }, { path: "d2/.wh..wh..opq" }];
}

/** A process that pulls with our store; it has said so when this resolves, and is killed by its caller, or ends. */
async function startPuller() {
  const options = { stateDir: host.stateDir, uidBase: UID_BASE, unpackProgram: UNPACK_PROGRAM };
  const at = (path: string) => JSON.stringify(join(import.meta.dirname, path));
  const script = join(host.stateDir, "pull.ts");
  await writeFile(
    script,
    `import { createImageStore } from ${at("../../runtime/image/store.ts")};
     import { HOST_PLATFORM } from ${at("../helpers/image-builder.ts")};
     const store = createImageStore({ ...${JSON.stringify(options)}, platform: HOST_PLATFORM });
     process.stdout.write("pulling");
     await store.ensure(${JSON.stringify(reference)}, new AbortController().signal);`,
  );
  const child = startProcess([process.execPath, script], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = finished(child);
  await once(child.stdout as Readable, "data");
  return { child, ended };
}

/** What is in the layers, and half-made ones if there are. */
async function walkLayersDir(): Promise<TreeEntry[]> {
  return (await walkTree(host.layersDir, UID_BASE)).filter(({ path }) => path !== ".").map(withoutWhiteoutTime);
}

/** A whiteout is as old as its unpacking. */
function withoutWhiteoutTime(entry: TreeEntry): TreeEntry {
  return entry.type === "character" ? { ...entry, modified: "" } : entry;
}

/** Each layer is there as it should be or not at all. Answers with how many there are. */
async function expectWholeOrAbsent(reference: readonly TreeEntry[]): Promise<number> {
  const names = host.layerNames();
  const expected = reference.filter(({ path }) => names.some((name) => path === name || path.startsWith(`${name}/`)));
  expect(differences(names.length > 0 ? await walkLayersDir() : [], expected)).toEqual([]);
  return names.length;
}

async function forget(): Promise<void> {
  const names = (await readdir(host.stateDir)).map((name) => join(host.stateDir, name));
  await runProgram(["rm", "-rf", "--", ...names]);
}

test(`a worker that is killed at any moment of a pull leaves each layer whole or absent, ${ROUNDS} times`, {
  timeout: 600_000,
}, async () => {
  const seed = randomBytes(4).readUInt32LE();
  const random = seeded(seed);
  const startedMs = performance.now();
  await (await startPuller()).ended;
  const pullMs = performance.now() - startedMs;
  const whole = await walkLayersDir();
  expect(host.layerNames()).toHaveLength(LAYERS);

  const found: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await forget();
    const { child, ended } = await startPuller();
    await delay(random(pullMs)); // Any moment: nothing is waited for.
    child.kill("SIGKILL");
    await ended;
    const next = host.restart();
    await next.removeLeftovers();
    found.push(await expectWholeOrAbsent(whole));
    await next.ensure(reference, NEVER);
    expect(host.layerNames(), `seed ${seed}, round ${round}`).toHaveLength(LAYERS);
  }
  await expectWholeOrAbsent(whole);
  expect(Math.min(...found), `seed ${seed}: none was killed before its end`).toBeLessThan(LAYERS);
});
