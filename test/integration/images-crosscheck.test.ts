// An image that other programs made, unpacked by another program and by ours: the trees must be the same.

import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runProgram } from "../../runtime/host/command.ts";
import { makeStore, NEVER, type StoreUnderTest, UID_BASE } from "../helpers/image-store.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";

let registry: Registry;
let host: StoreUnderTest;
let scratch: string;

beforeEach(async () => {
  registry = await startRegistry();
  host = await makeStore();
  scratch = await mkdtemp(join(tmpdir(), "mayfly-umoci-"));
});
afterEach(async () => {
  await registry.stop();
  await host.remove();
  await runProgram(["rm", "-rf", "--", scratch]);
});

/** Two layers: a small system with everything that a layer can hold, then changes to it. */
const FIRST = `
  mkdir -p bin etc/skel var/cache/app usr/lib usr/share/doc home/app empty
  cp /bin/busybox bin/busybox && chmod 4755 bin/busybox
  for name in sh ls cat; do ln -s busybox bin/$name; done
  ln -s usr/lib lib && echo library > usr/lib/libx.so.1 && ln usr/lib/libx.so.1 usr/lib/libx.so
  echo 'root:x:0:0::/root:/bin/sh' > etc/passwd && chmod 640 etc/passwd && chown 0:42 etc/passwd
  install -d -m 1777 tmp && install -d -m 2750 -o 1000 -g 1000 home/app/private
  mkfifo -m 600 var/pipe && touch 'usr/share/doc/ünïcödé name' var/cache/app/one var/cache/app/two
  touch -d 2001-02-03T04:05:06 etc/passwd usr/share && chown -h 33:33 bin/ls
`;
const SECOND = `
  rm bin/cat var/cache/app/one && rm -r usr/share && mkdir -p usr/share && echo new > usr/share/new
  rm -r etc/skel && echo file > etc/skel && chmod 700 home/app && rmdir empty && ln -s etc empty
  echo changed >> etc/passwd && chown 65535:65535 var/cache/app/two
`;

/** One line an entry: path, type, mode, owner:group and target; for what is no directory its names and time; for files the size. */
const LIST = `find . -printf '%P %y %m %U:%G %l' \\( -type f -printf ' %n %T@ %s\\n' -o -type d -printf '\\n' -o -printf ' %n %T@\\n' \\) | sort`;

/** As `LIST`, of our layers: their owners are moved back by the uid base. */
async function listShifted(script: string): Promise<string[]> {
  const lines = (await runProgram(["unshare", "-m", "sh", "-c", script])).split("\n");
  const shift = (id: string) => String(Number(id) - UID_BASE);
  return lines.map((line) => line.replace(/ (\d+):(\d+) /, (_, uid, gid) => ` ${shift(uid)}:${shift(gid)} `));
}

async function shell(script: string): Promise<string> {
  return runProgram(["sh", "-e", "-c", `cd ${scratch}; ${script}`]);
}

test("an image that umoci made is the same tree in our layers as in umoci's own bundle", async () => {
  const name = `${registry.host}/umoci/system:1`;
  await shell("umoci init --layout made && umoci new --image made:1");
  for (const [index, changes] of [FIRST, SECOND].entries()) {
    const bundle = `bundle${index}`;
    await shell(
      `umoci unpack --image made:1 ${bundle} && (cd ${bundle}/rootfs; ${changes}) && umoci repack --image made:1 ${bundle}`,
    );
  }
  await shell(
    "umoci config --image made:1 --config.user 1000 --config.env A=b --config.cmd sh --config.workingdir /home/app",
  );
  await shell(
    `skopeo --insecure-policy copy --dest-tls-verify=false oci:made:1 docker://${name} && umoci unpack --image made:1 theirs`,
  );

  const image = await host.store.ensure(name, NEVER);
  expect(image.config).toMatchObject({ user: "1000", command: ["sh"], workdir: "/home/app" });
  expect(image.config.env).toContain("A=b");
  expect(image.layers).toHaveLength(2);

  await mkdir(join(scratch, "ours"));
  const lower = image.layers.toReversed().join(":");
  const ours = await listShifted(
    `cd ${scratch} && mount -t overlay overlay -o lowerdir=${lower} ours && cd ours && ${LIST}`,
  );
  const theirs = (await shell(`cd theirs/rootfs && ${LIST}`)).split("\n");
  expect(ours.length).toBeGreaterThan(25);
  expect(ours).toEqual(theirs);
});

test("an image that skopeo converted to Docker's format is pulled like the original", async () => {
  await shell(
    `umoci init --layout made && umoci new --image made:1 && umoci unpack --image made:1 b && (cd b/rootfs; ${FIRST})`,
  );
  await shell("umoci repack --image made:1 b");
  const push = (format: string) =>
    shell(
      `skopeo --insecure-policy copy --format ${format} --dest-tls-verify=false oci:made:1 docker://${registry.host}/a/${format}:1`,
    );
  await push("oci");
  await push("v2s2");
  const oci = await host.store.ensure(`${registry.host}/a/oci:1`, NEVER);
  const docker = await host.store.ensure(`${registry.host}/a/v2s2:1`, NEVER);
  expect(docker.digest).not.toBe(oci.digest);
  expect(docker.layers).toEqual(oci.layers);
});
