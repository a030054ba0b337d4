// A disk that is full at every moment of a pull or a load that it can be full at: little file systems, each with a bit more room.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isMayflyError } from "../../core/errors.ts";
import { createHostArchives } from "../../runtime/archive/host-archives.ts";
import { runProgram } from "../../runtime/host/command.ts";
import type { HostImageStore } from "../../runtime/image/store.ts";
import { inChunks, layoutTar } from "../helpers/archive.ts";
import { type FakeRegistry, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer, HOST_PLATFORM } from "../helpers/image-builder.ts";
import { makeStore, NEVER } from "../helpers/image-store.ts";

const IMAGE = buildImage({
  layers: [
    buildLayer([{ path: "a", content: "x".repeat(5000) }, { path: "b" }]),
    buildLayer([{ path: "c", content: "y".repeat(9000) }], "none"),
  ],
});
/** Enough files, bytes respectively, for all of it. */
const [INODES, PAGES] = [40, 40];

let registry: FakeRegistry;
let stateDir: string;

beforeEach(async () => {
  registry = await startFakeRegistry();
  stateDir = await mkdtemp(join(tmpdir(), "mayfly-full-"));
});
afterEach(async () => {
  await registry.stop();
  await rm(stateDir, { recursive: true });
});

type Work = (store: HostImageStore) => Promise<void>;

const pull: Work = async (store) => (await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER)).release();
const load: Work = async (store) => {
  const archive = inChunks(layoutTar({ image: IMAGE }));
  await createHostArchives({ store, stateDir, platform: HOST_PLATFORM }).load(archive, NEVER);
};

/** What the work fails with on a file system of this size, and what of unfinished things it leaves there. */
async function tryOn(size: string, work: Work): Promise<{ error: unknown; left: string[] }> {
  await runProgram(["mount", "-t", "tmpfs", "-o", size, "tmpfs", stateDir]);
  try {
    const { store } = await makeStore({ stateDir, diskBudget: 2 ** 30 });
    const error = await work(store).catch((thrown: unknown) => thrown);
    const left = (await readdir(stateDir, { recursive: true })).filter((name) => name.includes("unfinished"));
    return { error, left };
  } finally {
    await runProgram(["umount", stateDir]);
  }
}

test.each([
  ["pull", "files", pull],
  ["pull", "bytes", pull],
  ["load", "files", load],
  ["load", "bytes", load],
] as const)(
  "wherever a %s finds the disk full of %s, that is what it says, and it leaves nothing unfinished",
  async (_work, what, work) => {
    const sizes =
      what === "files"
        ? Array.from({ length: INODES }, (_, index) => `nr_inodes=${index + 2}`)
        : Array.from({ length: PAGES }, (_, index) => `size=${(index + 1) * 4}k`);
    let failures = 0;
    for (const size of sizes) {
      const { error, left } = await tryOn(size, work);
      expect(left, size).toEqual([]);
      if (error === undefined) continue;
      failures++;
      expect(isMayflyError(error) && `${error.reason}: ${error.message}`, size).toMatch(
        /^host_unavailable: .*no space left/is,
      );
    }
    expect(failures).toBeGreaterThan(5);
    expect(failures).toBeLessThan(sizes.length); // The last ones are large enough.
  },
);
