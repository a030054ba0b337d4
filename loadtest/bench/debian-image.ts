// Images of real programs, made of Debian's own packages on this machine: what apt would install on a system that has nothing,
// unpacked and not configured. They are kept, as fetching them takes longer than measuring them.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../infra/command.ts";
import { runLong } from "./long-command.ts";
import { type Subject, subjectOf } from "./subject.ts";
import type { Workshop } from "./workshop.ts";

export interface DebianProgram {
  readonly name: string;
  readonly packages: readonly string[];
  readonly argv: Subject["argv"];
}

/** To be raised when what is made of the same packages changes. */
const RECIPE = 1;
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Where runtimes mount things; packages bring few of them. */
const DIRECTORIES = ["dev", "etc", "proc", "root", "sys", "tmp"];

/** The image as a subject of the workshop. Rejects if the packages are not to be had. */
export async function debianSubject(workshop: Workshop, program: DebianProgram, cacheDir: string): Promise<Subject> {
  const layout = join(cacheDir, `${program.name}-${RECIPE}`);
  if (!existsSync(layout)) await makeLayout(layout, program, cacheDir);
  const reference = `${workshop.registry}/${program.name}:latest`;
  const target = ["--dest-tls-verify=false", `oci:${layout}:latest`, `docker://${reference}`];
  await runLong(["skopeo", "--insecure-policy", "copy", "--quiet", ...target]);
  return subjectOf(workshop, { name: program.name, reference, argv: program.argv });
}

/** Under a temporary name first: what is there is whole. */
async function makeLayout(layout: string, program: DebianProgram, cacheDir: string): Promise<void> {
  await mkdir(cacheDir, { recursive: true });
  const work = await mkdtemp(join(cacheDir, "work-"));
  try {
    const packages = await fetchPackages(work, program.packages);
    const oci = join(work, "oci");
    const [image, bundle] = [`${oci}:latest`, join(work, "bundle")];
    await run(["umoci", "init", "--layout", oci]);
    await run(["umoci", "new", "--image", image]);
    await run(["umoci", "unpack", "--image", image, bundle]);
    const rootfs = join(bundle, "rootfs");
    for (const file of packages) await runLong(["dpkg-deb", "--extract", file, rootfs]);
    for (const name of DIRECTORIES) await mkdir(join(rootfs, name), { recursive: true });
    await writeFile(join(rootfs, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    await runLong(["umoci", "repack", "--image", image, bundle]);
    await run(["umoci", "config", "--image", image, "--config.env", PATH]);
    await rename(oci, layout);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** apt is told that nothing is installed here: so it fetches all that the packages need, of the releases that it is set up for. */
async function fetchPackages(work: string, packages: readonly string[]): Promise<string[]> {
  const archives = join(work, "archives");
  const status = join(work, "status");
  await mkdir(join(archives, "partial"), { recursive: true });
  await writeFile(status, "");
  const options = [`Dir::State::status=${status}`, `Dir::Cache::archives=${archives}`, "APT::Sandbox::User=root"];
  await runLong([
    ...(["apt-get", "install"] as const),
    ...["--download-only", "--yes", "--no-install-recommends", "--quiet"],
    ...options.flatMap((option) => ["-o", option]),
    ...packages,
  ]);
  const files = (await readdir(archives)).filter((name) => name.endsWith(".deb"));
  return files.map((name) => join(archives, name));
}
