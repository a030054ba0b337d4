// Images that other programs make, unpacked by us, by umoci and by Docker: a container sees the same tree.

import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "../../runtime/host/command.ts";
import { type DockerDaemon, startDocker } from "../helpers/docker-daemon.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";
import { differences, type TreeEntry, walkLayers, walkTree } from "../helpers/tree-walk.ts";

/** Making a Debian takes half a minute, packing and unpacking it as much again. */
const LONG = 600_000;

let registry: Registry;
let host: StoreUnderTest;
let daemon: DockerDaemon;
let scratch: string;

beforeAll(async () => {
  [registry, host, daemon] = await Promise.all([startRegistry(), makeStore(), startDocker()]);
  scratch = await mkdtemp(join(tmpdir(), "mayfly-peers-"));
});
afterAll(async () => {
  await Promise.all([registry.stop(), host.remove(), daemon.stop()]);
  await runProgram(["rm", "-rf", "--one-file-system", "--", scratch]);
});

async function shell(script: string): Promise<string> {
  return runProgram(["sh", "-e", "-c", `cd ${scratch}; ${script}`]);
}

/** Pulls the image `name` of the OCI layout in `scratch` as a host would, and walks what its container sees. */
async function ours(name: string): Promise<TreeEntry[]> {
  const reference = `${registry.host}/exact/${name}:1`;
  await shell(`skopeo --insecure-policy copy -q --dest-tls-verify=false oci:layout:${name} docker://${reference}`);
  return walkLayers((await host.store.ensure(reference, NEVER)).layers, UID_BASE);
}

async function umocis(name: string): Promise<TreeEntry[]> {
  await shell(`umoci unpack --image layout:${name} ${name}-umoci`);
  return withoutDevices(await walkTree(join(scratch, `${name}-umoci/rootfs`)));
}

/** Docker's answer is an archive, which GNU tar turns into a tree. */
async function dockers(name: string): Promise<TreeEntry[]> {
  const tree = join(scratch, `${name}-docker`);
  await mkdir(tree);
  await shell(`skopeo --insecure-policy copy -q oci:layout:${name} docker-archive:${name}.tar:exact/${name}:1`);
  await daemon.docker("load", "--quiet", "--input", join(scratch, `${name}.tar`));
  const container = (await daemon.docker("create", "--network", "none", `exact/${name}:1`, "/none")).trim();
  await daemon.docker("export", "--output", join(scratch, `${name}-export.tar`), container);
  await shell(`tar -C ${tree} --xattrs --xattrs-include='*' --same-owner -xpf ${name}-export.tar`);
  return withoutDevices(await walkTree(tree));
}

/** The runtime provides /dev. */
function withoutDevices(tree: readonly TreeEntry[]): TreeEntry[] {
  return tree.filter(({ type }) => type !== "character" && type !== "block");
}

function withoutDirectoryTimes(tree: readonly TreeEntry[]): TreeEntry[] {
  return tree.map((entry) => (entry.type === "directory" ? { ...entry, modified: "0" } : entry));
}

/** What `docker create` puts into every container, over whatever the image has there. */
const DOCKERS_OWN = /^(\.|\.dockerenv|dev(\/(console|pts|shm))?|etc|etc\/(hostname|hosts|resolv\.conf|mtab)|proc|sys)$/;

/** What `docker export` keeps: whole seconds, and of the xattrs a file's capabilities. */
function asExported(tree: readonly TreeEntry[]): TreeEntry[] {
  return tree
    .filter(({ path }) => !DOCKERS_OWN.test(path))
    .map((entry) => ({
      ...entry,
      modified: String(BigInt(entry.modified) / 1_000_000_000n),
      xattrs: "security.capability" in entry.xattrs ? { capability: entry.xattrs["security.capability"] } : {},
    }));
}

async function expectSameEverywhere(name: string, minEntries: number): Promise<void> {
  const tree = await ours(name);
  expect(tree.length).toBeGreaterThan(minEntries);
  expect(differences(tree, await umocis(name))).toEqual([]);
  expect(differences(asExported(tree), asExported(await dockers(name)))).toEqual([]);
}

/** A small system with all that a layer can hold, then changes to it, of every kind. */
const FIRST = `
  mkdir -p bin etc/skel etc/conf.d var/cache/app usr/lib usr/share/doc home/app empty opt/a/b/c
  cp /bin/busybox bin/busybox && chmod 4755 bin/busybox && setcap cap_net_raw+ep bin/busybox
  for name in sh ls cat; do ln -s busybox bin/$name; done
  ln -s usr/lib lib && echo library > usr/lib/libx.so.1 && ln usr/lib/libx.so.1 usr/lib/libx.so
  echo 'root:x:0:0::/root:/bin/sh' > etc/passwd && chmod 640 etc/passwd && chown 0:42 etc/passwd
  install -d -m 1777 tmp && install -d -m 2750 -o 1000 -g 1000 home/app/private
  mkfifo -m 600 var/pipe && touch 'usr/share/doc/ünïcödé name' var/cache/app/one var/cache/app/two opt/a/b/c/deep
  ln -s /absolute/nowhere dangling && ln dangling dangling-too && echo x > to-dir && mkdir to-file && touch to-file/x
  ln -s etc/conf.d link-to-dir && touch etc/conf.d/behind-the-link
  truncate -s 3M sparse && printf end | dd of=sparse bs=1 seek=1M conv=notrunc 2>/dev/null
  touch -d 2001-02-03T04:05:06.123456789 etc/passwd usr/share && touch -d 1955-11-05 opt && chown -h 33:33 bin/ls
`;
const SECOND = `
  rm bin/cat var/cache/app/one && rm -r usr/share && mkdir -p usr/share && echo new > usr/share/new
  rm -r etc/skel && echo file > etc/skel && chmod 700 home/app && rmdir empty && ln -s etc empty
  echo changed >> etc/passwd && chown 65535:65535 var/cache/app/two && touch -d 2001-02-03 var
  rm to-dir && mkdir to-dir && touch to-dir/new && rm -r to-file && echo file > to-file
  rm link-to-dir && mkdir link-to-dir && touch link-to-dir/real && rm dangling-too
`;
const THIRD = `
  rm -r opt/a && mkdir -p opt/a/b && touch opt/a/b/again && rm -r usr/share && rm to-dir/new && rmdir to-dir && ln -s bin to-dir
  ln usr/lib/libx.so.1 usr/lib/libx.so.2 && chmod u-s bin/busybox && mkdir usr/share && touch usr/share/newest
`;

test("a system that umoci packed, in three layers that take back what those below them have", async () => {
  await shell("umoci init --layout layout && umoci new --image layout:umoci");
  for (const [index, changes] of [FIRST, SECOND, THIRD].entries()) {
    const bundle = `bundle${index}`;
    await shell(`umoci unpack --image layout:umoci ${bundle}; cd ${bundle}/rootfs; ${changes}`);
    await shell(`umoci repack --image layout:umoci ${bundle}`);
  }
  const [tree, theirs] = [await ours("umoci"), await umocis("umoci")];
  expect(tree.length).toBeGreaterThan(35);
  // Of directories whose names only changed within a second, umoci's layers do not have the time.
  expect(differences(withoutDirectoryTimes(tree), withoutDirectoryTimes(theirs))).toEqual([]);
  // Docker refuses it: where a directory became a file, umoci also whites out what was in the directory.
  await expect(dockers("umoci")).rejects.toMatchObject({ message: expect.stringContaining("not a directory") });
});

test("a system that buildah packed, in three layers with opaque directories", async () => {
  const buildah = `buildah --root ${scratch}/containers --runroot ${scratch}/containers-run --storage-driver overlay`;
  try {
    for (const [index, changes] of [FIRST, SECOND, THIRD].entries()) {
      const base = index === 0 ? "scratch" : `localhost/made:${index - 1}`;
      await shell(`
        container=$(${buildah} from ${base}); root=$(${buildah} mount $container); cd $root; ${changes}
        cd ${scratch}; ${buildah} umount $container; ${buildah} commit -q $container made:${index}`);
    }
    await shell(`${buildah} push -q made:2 oci:layout:buildah`);
    const markers = await shell(`
      for layer in layout/blobs/sha256/*; do tar -tzf $layer 2>/dev/null || true; done | grep -c '\\.wh\\.\\.wh\\.\\.opq'`);
    expect(Number(markers)).toBeGreaterThan(0);
  } finally {
    await shell(`${buildah} umount --all; ${buildah} rm --all; umount containers/overlay || true`);
  }
  await expectSameEverywhere("buildah", 35);
});

test("a directory that an upper layer implies and a lower one has takes the upper one's owner and mode, as with Docker", async () => {
  await shell(`
    umoci new --image layout:implied && umoci unpack --image layout:implied implied0
    install -d -m 700 -o 5 -g 5 implied0/rootfs/home && mkdir implied0/rootfs/home/sub && touch -d 2001-01-01 implied0/rootfs/home
    umoci repack --image layout:implied implied0 && umoci unpack --image layout:implied implied1
    touch implied1/rootfs/home/sub/new && umoci repack --image layout:implied implied1`);
  const home = (tree: readonly TreeEntry[]) => tree.find(({ path }) => path === "home");
  expect(home(await ours("implied"))).toMatchObject({ mode: "0o755", owner: "0:0" });
  expect(home(await dockers("implied"))).toMatchObject({ mode: "0o755", owner: "0:0" });
  expect(home(await umocis("implied"))).toMatchObject({ mode: "0o700", owner: "5:5" });
});

test("a whole Debian, and a layer that changes it", { timeout: LONG }, async () => {
  const codename = (await shell(". /etc/os-release; echo $VERSION_CODENAME")).trim();
  const targets = `apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: ${codename}'`;
  const [mirror = ""] = (await shell(targets)).split("\n");
  await shell("umoci new --image layout:debian && umoci unpack --image layout:debian debian");
  await shell(`debootstrap --variant=minbase ${codename} debian/rootfs ${mirror} >&2`);
  await shell("umoci repack --image layout:debian debian && umoci unpack --image layout:debian changed");
  await shell(`
    cd changed/rootfs; touch . etc usr var # Else umoci leaves them out of the layer: see the test above.
    rm -r usr/share/doc usr/share/locale/de; mkdir usr/share/doc; echo hello > etc/motd
    chown -R 1000:1000 var/cache; chmod 700 root; mv usr/bin/perl usr/bin/perl.real; ln -s perl.real usr/bin/perl`);
  await shell("umoci repack --image layout:debian changed");
  await expectSameEverywhere("debian", 5000);
});
