// A small image of this machine's own making, so that a first run needs no registry on the internet: Debian's static busybox,
// a link for each of its commands, and no more of a system than they expect.

import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run } from "./command.ts";
import { send } from "./http.ts";

const BUSYBOX = "/bin/busybox";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const FILES = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
  "etc/group": "root:x:0:\nnogroup:x:65534:\n",
};
/** To be raised when what is made from the same busybox changes. */
const RECIPE = 1;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

export interface ImageOptions {
  /** Such as `127.0.0.1:5000`. */
  readonly registry: string;
  /** A directory to work in, and to remember what was pushed. */
  readonly directory: string;
}

/** Resolves with the reference of the image, which the registry has by then. Quick if it had it before. */
export async function pushBusybox({ registry, directory }: ImageOptions): Promise<string> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const reference = `${registry}/busybox:latest`;
  const source = `${RECIPE} ${createHash("sha256").update(readFileSync(BUSYBOX)).digest("hex")}`;
  const pushedFile = join(directory, "pushed");
  const pushed = existsSync(pushedFile) ? readFileSync(pushedFile, "utf8") : "";
  if (pushed === `${source} ${await digestAt(registry)}`) return reference;
  const work = mkdtempSync(join(directory, "work-"));
  try {
    await makeImage(work);
    await run([
      "skopeo",
      "--insecure-policy",
      "copy",
      "--quiet",
      "--dest-tls-verify=false",
      `oci:${work}/oci:latest`,
      `docker://${reference}`,
    ]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  writeFileSync(pushedFile, `${source} ${await digestAt(registry)}`);
  return reference;
}

/** The digest that the registry gives for the tag, or `none`. */
async function digestAt(registry: string): Promise<string> {
  const url = `http://${registry}/v2/busybox/manifests/latest`;
  const { status, headers } = await send(url, { method: "HEAD", headers: { accept: MANIFEST } });
  return status === 200 ? String(headers["docker-content-digest"]) : "none";
}

/** Leaves the image `latest` in the OCI layout `oci` below the directory. */
async function makeImage(work: string): Promise<void> {
  const layout = join(work, "oci");
  const image = `${layout}:latest`;
  const bundle = join(work, "bundle");
  await run(["umoci", "init", "--layout", layout]);
  await run(["umoci", "new", "--image", image]);
  await run(["umoci", "unpack", "--image", image, bundle]);
  await fill(join(bundle, "rootfs"));
  await run(["umoci", "repack", "--image", image, bundle]);
  await run(["umoci", "config", "--image", image, "--config.env", `PATH=${PATH}`, "--config.cmd", "sh"]);
}

async function fill(root: string): Promise<void> {
  for (const directory of ["bin", "dev", "etc", "proc", "root", "sys", "tmp"]) mkdirSync(join(root, directory));
  chmodSync(join(root, "root"), 0o700);
  chmodSync(join(root, "tmp"), 0o1777);
  for (const [path, text] of Object.entries(FILES)) writeFileSync(join(root, path), text, { mode: 0o644 });
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  const commands = (await run([BUSYBOX, "--list"])).trim().split("\n");
  for (const command of commands) if (command !== "busybox") symlinkSync("busybox", join(root, "bin", command));
}
