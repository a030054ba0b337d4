// Archives that other programs made, and ours in the hands of other programs: the digests must be the same on both sides.

import { createReadStream } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Digest, digestOf, hexOf } from "../../runtime/content/digest.ts";
import { runProgram } from "../../runtime/host/command.ts";
import { parseConfig } from "../../runtime/image/config.ts";
import { parseManifest } from "../../runtime/image/manifest.ts";
import { load, makeShelf, type Shelf, save, shelve } from "../helpers/archive.ts";
import { startDocker } from "../helpers/docker-daemon.ts";
import { busyboxImage, HOST_PLATFORM } from "../helpers/image-builder.ts";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "mayfly-archives-"));
  await shell(MADE_BY_UMOCI);
});
afterAll(async () => void (await runProgram(["rm", "-rf", "--", scratch])));

async function shell(script: string): Promise<string> {
  return (await runProgram(["sh", "-e", "-c", `cd ${scratch}; ${script}`])).trim();
}

/** A layout of two layers, gzip. */
const MADE_BY_UMOCI = `
  umoci init --layout made && umoci new --image made:1
  umoci unpack --image made:1 one && mkdir one/rootfs/bin && cp /bin/busybox one/rootfs/bin/sh && umoci repack --image made:1 one
  umoci unpack --image made:1 two && echo hello > two/rootfs/hello && umoci repack --image made:1 two
  umoci config --image made:1 --config.cmd sh --config.env A=b
`;
const NAME = "docker.io/demo/made:1";
const SKOPEO = "skopeo --insecure-policy";

const loadFile = (file: string, shelf: Shelf) => load(createReadStream(join(scratch, file)), shelf);
const rawDigest = async (image: string) =>
  digestOf(Buffer.from(await runProgram(["sh", "-c", `cd ${scratch}; ${SKOPEO} inspect --raw ${image}`])));

function partsOf(shelf: Shelf, reference: string) {
  const digest = shelf.images.get(reference)?.manifestDigest ?? "sha256:";
  const manifest = parseManifest(shelf.blobs.get(digest) ?? Buffer.alloc(0));
  if (manifest.kind === "index") throw new Error("an index");
  const config = shelf.blobs.get(manifest.config.digest) ?? Buffer.alloc(0);
  const { diffIds } = parseConfig(config, HOST_PLATFORM, manifest.layers.length);
  return { digest, configDigest: manifest.config.digest, layers: manifest.layers, diffIds };
}

/** The DiffIDs and the config's digest of an image that umoci made, as skopeo tells them. */
async function umociParts(): Promise<{ configDigest: Digest; diffIds: string[] }> {
  const config = await runProgram(["sh", "-c", `cd ${scratch}; ${SKOPEO} inspect --config --raw oci:made:1`]);
  return { configDigest: digestOf(Buffer.from(config)), diffIds: JSON.parse(config).rootfs.diff_ids };
}

test.each(["gzip", "zstd"])(
  "skopeo's oci-archive of %s layers is loaded with the digests that skopeo tells",
  async (compression) => {
    const file = `skopeo-${compression}.tar`;
    await shell(`
    ${SKOPEO} copy --dest-compress --dest-compress-format ${compression} oci:made:1 dir:${compression}
    ${SKOPEO} copy dir:${compression} oci-archive:${file}:${NAME}
  `);
    const shelf = makeShelf();
    await loadFile(file, shelf);
    const { digest, layers, diffIds } = partsOf(shelf, NAME);
    expect(digest).toBe(await rawDigest(`oci-archive:${file}`));
    expect(layers.map((layer) => layer.compression)).toEqual([compression, compression]);
    expect(diffIds).toEqual((await umociParts()).diffIds);
  },
);

test.each(["cat", "gzip -c", "zstd -qc"])(
  "skopeo's docker-archive through `%s` is loaded with its layers as they are",
  async (how) => {
    const file = `docker-${how.slice(0, 3)}.tar`;
    await shell(`${SKOPEO} copy oci:made:1 docker-archive:plain-${file}:${NAME} && ${how} plain-${file} > ${file}`);
    const shelf = makeShelf();
    await loadFile(file, shelf);
    const { layers, diffIds } = partsOf(shelf, NAME);
    expect(diffIds).toEqual((await umociParts()).diffIds);
    expect(layers.map(({ digest }) => digest)).toEqual(diffIds);
  },
);

test("what umoci laid out is loaded through tar, under its tag", async () => {
  await shell("tar -C made -cf umoci.tar .");
  const shelf = makeShelf();
  await loadFile("umoci.tar", shelf);
  expect([...shelf.images.keys()]).toEqual(["localhost/loaded:1"]);
  expect(partsOf(shelf, "localhost/loaded:1").digest).toBe(await rawDigest("oci:made:1"));
});

test("our layout, loaded from umoci, is unpacked by umoci to the same tree, and skopeo finds each image by its name", async () => {
  const shelf = makeShelf();
  await shell("tar -C made -cf ours-in.tar .");
  await load(createReadStream(join(scratch, "ours-in.tar")), shelf, { reference: NAME });
  const other = shelve(shelf, "demo/busybox:1", await busyboxImage());
  await writeFile(join(scratch, "ours.tar"), await save(shelf, [NAME, "demo/busybox:1"], "oci"));
  expect(await rawDigest(`oci-archive:ours.tar:${NAME}`)).toBe(await rawDigest("oci:made:1"));
  expect(await rawDigest("oci-archive:ours.tar:docker.io/demo/busybox:1")).toBe(other.digest);
  await shell(
    `${SKOPEO} copy oci-archive:ours.tar:${NAME} dir:ours-dir && ${SKOPEO} copy oci-archive:ours.tar:${NAME} oci:ours:1`,
  );
  expect(digestOf(await readFile(join(scratch, "ours-dir/manifest.json")))).toBe(await rawDigest("oci:made:1"));
  await shell("umoci unpack --image ours:1 bundle && diff -r bundle/rootfs two/rootfs");
});

test("our archive for Docker is read by skopeo, by name, to the same layers and config", async () => {
  const shelf = makeShelf();
  const image = await busyboxImage();
  shelve(shelf, "demo/busybox:1", image);
  await writeFile(join(scratch, "ours-docker.tar"), await save(shelf, ["demo/busybox:1"], "docker"));
  await shell(`${SKOPEO} copy docker-archive:ours-docker.tar:demo/busybox:1 dir:docker-dir`);
  const { config, layers } = JSON.parse(await readFile(join(scratch, "docker-dir/manifest.json"), "utf8"));
  const ours = partsOf(shelf, "docker.io/demo/busybox:1");
  expect(config.digest).toBe(ours.configDigest);
  expect(layers).toHaveLength(ours.layers.length);
});

test("an image that buildah made is loaded from either of its archives, and buildah takes ours", async () => {
  const buildah = "buildah --root $PWD/buildah --runroot $PWD/buildah-run --storage-driver vfs";
  const pushed = (transport: string) =>
    `${buildah} push -q demo/built:1 ${transport}:built-${transport}.tar:docker.io/demo/built:1`;
  await shell(`
    container=$(${buildah} from scratch)
    ${buildah} copy -q $container /bin/busybox /bin/sh
    ${buildah} config --cmd sh --env A=b --user 1000 $container
    ${buildah} commit -q $container docker.io/demo/built:1
    ${pushed("oci-archive")} && ${pushed("docker-archive")}
  `);
  const [oci, docker] = [makeShelf(), makeShelf()];
  await loadFile("built-oci-archive.tar", oci);
  await loadFile("built-docker-archive.tar", docker);
  const name = "docker.io/demo/built:1";
  expect(partsOf(oci, name).digest).toBe(await rawDigest("oci-archive:built-oci-archive.tar"));
  expect(partsOf(docker, name).diffIds).toEqual(partsOf(oci, name).diffIds);
  await writeFile(join(scratch, "again.tar"), await save(oci, [name], "oci"));
  const id = await shell(`${buildah} rmi -a -f > /dev/null; ${buildah} pull -q oci-archive:again.tar`);
  expect(id).toBe(hexOf(partsOf(oci, name).configDigest));
});

test("Docker loads our archive under the image's own id, and what Docker saves is loaded as the same image", async () => {
  const shelf = makeShelf();
  shelve(shelf, "demo/busybox:1", await busyboxImage());
  await writeFile(join(scratch, "for-docker.tar"), await save(shelf, ["demo/busybox:1"], "docker"));
  const ours = partsOf(shelf, "docker.io/demo/busybox:1");
  const { docker, stop } = await startDocker();
  try {
    await docker("load", "-q", "-i", join(scratch, "for-docker.tar"));
    const inspected = JSON.parse(await docker("inspect", "demo/busybox:1"));
    expect(inspected).toMatchObject([{ Id: ours.configDigest, RootFS: { Layers: ours.diffIds } }]);
    await docker("tag", "demo/busybox:1", "demo/other:2");
    await docker("save", "-o", join(scratch, "from-docker.tar"), "demo/busybox:1", "demo/other:2");
  } finally {
    await stop();
  }
  const again = makeShelf();
  await loadFile("from-docker.tar", again);
  expect([...again.images.keys()].toSorted()).toEqual(["docker.io/demo/busybox:1", "docker.io/demo/other:2"]);
  expect(partsOf(again, "docker.io/demo/busybox:1")).toMatchObject({
    configDigest: ours.configDigest,
    diffIds: ours.diffIds,
  });
});
